# The image of Postroom: a wheel and its hashed dependencies in one virtual environment, on a base with Debian's Python
# and nothing else: no shell, no package manager. It runs as a user without rights. The root file system may be
# read-only; only /var/lib/postroom (the store) is written. `make image` carries out these steps without an engine.

FROM debian:bookworm-slim AS build
# hadolint ignore=DL3008
RUN apt-get update && apt-get install --yes --no-install-recommends python3-venv && rm -rf /var/lib/apt/lists/*
# (Not pinned: Debian keeps one version of a package, the one with the latest security fixes.)
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PYTHONDONTWRITEBYTECODE=1
WORKDIR /src
COPY requirements.lock ./
RUN python3 -m venv /opt/postroom \
    && /opt/postroom/bin/python -m pip install --require-hashes -r requirements.lock
COPY pyproject.toml README.md LICENSE ./
COPY app ./app
# Compiled here, because the image cannot keep what it compiles.
RUN /opt/postroom/bin/python -m pip install --no-deps . \
    && /opt/postroom/bin/python -m pip uninstall --yes pip setuptools \
    && find /opt/postroom -name __pycache__ -prune -exec rm -rf {} + \
    && python3 -m compileall -q /opt/postroom/lib \
    && mkdir /var/lib/postroom

FROM gcr.io/distroless/python3-debian12:nonroot
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="Postroom" \
      org.opencontainers.image.description="JSON in, Exchange Online out, nothing lost, every refusal explained" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
COPY --from=build /opt/postroom /opt/postroom
# The base image's user "nonroot"; a new volume takes its owner from here.
COPY --from=build --chown=65532:65532 /var/lib/postroom /var/lib/postroom
ENV PATH="/opt/postroom/bin:${PATH}" \
    POSTROOM_CONFIG=/etc/postroom/postroom.toml \
    PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
USER 65532:65532
WORKDIR /var/lib/postroom
VOLUME ["/var/lib/postroom"]
EXPOSE 8080 8081
# No curl in the image: Python asks. /livez depends on nothing outside the process.
HEALTHCHECK --interval=15s --timeout=3s --start-period=20s --retries=3 \
    CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8081/livez', timeout=2)"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["postroom"]
CMD ["serve"]
