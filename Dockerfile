# The image of Postroom: a wheel and its hashed dependencies in one virtual environment, run by a user without rights.
# The root file system may be read-only; only /var/lib/postroom (the store) is written.

FROM python:3.11-slim-bookworm AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PYTHONDONTWRITEBYTECODE=1
WORKDIR /src
COPY requirements.lock ./
RUN python -m venv /opt/postroom \
    && /opt/postroom/bin/python -m pip install --require-hashes -r requirements.lock
COPY pyproject.toml README.md LICENSE ./
COPY app ./app
RUN /opt/postroom/bin/python -m pip install --no-deps . \
    && /opt/postroom/bin/python -m pip uninstall --yes pip setuptools \
    && find /opt/postroom -name __pycache__ -prune -exec rm -rf {} + \
    && /usr/local/bin/python -m compileall -q /opt/postroom/lib

FROM python:3.11-slim-bookworm
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="Postroom" \
      org.opencontainers.image.description="JSON in, Exchange Online out, nothing lost, every refusal explained" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
RUN groupadd --system --gid 10001 postroom \
    && useradd --system --uid 10001 --gid postroom --home-dir /var/lib/postroom --shell /usr/sbin/nologin postroom \
    && install -d -o postroom -g postroom -m 0750 /var/lib/postroom
COPY --from=build /opt/postroom /opt/postroom
ENV PATH="/opt/postroom/bin:${PATH}" \
    POSTROOM_CONFIG=/etc/postroom/postroom.toml \
    PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
USER 10001:10001
WORKDIR /var/lib/postroom
VOLUME ["/var/lib/postroom"]
EXPOSE 8080 8081
# No curl in the image: Python asks. /livez depends on nothing outside the process.
HEALTHCHECK --interval=15s --timeout=3s --start-period=20s --retries=3 \
    CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8081/livez', timeout=2)"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["postroom"]
CMD ["serve"]
