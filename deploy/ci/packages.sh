#!/usr/bin/env bash
# Installs, on Debian 12 and as root, the programs that the tests against real ones need (`make interop`, `make image`).
# Nothing is started, and what is there already stays as it is. Versions are Debian's: what people have.
set -euo pipefail

exim_home=/opt/postroom-ci
wanted=(
    make python3-venv libmime-tools-perl strace
    mono-mcs mono-runtime libmono-system-net-http4.0-cil libmono-system-web-extensions4.0-cil
    nginx-light haproxy systemd
    postfix dovecot-core dovecot-submissiond
    # What Exim is linked with. Itself it cannot be installed beside Postfix; it is only unpacked, see below.
    libdb5.3 libgnutls-dane0 libgnutls30 libidn12 libidn2-0 libnsl2 libpcre2-8-0
)

missing=()
for package in "${wanted[@]}"; do
    [ "$(dpkg-query --show --showformat='${db:Status-Status}' "$package" 2>/dev/null)" = installed ] || missing+=("$package")
done
has_exim=$([ -x "$exim_home/bin/exim4" ] && echo yes || echo no)
if [ ${#missing[@]} -eq 0 ] && [ "$has_exim" = yes ]; then
    exit 0
fi

export DEBIAN_FRONTEND=noninteractive
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
if [ ! -e /usr/sbin/policy-rc.d ]; then
    printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d
    chmod +x /usr/sbin/policy-rc.d
    trap 'rm -rf "$scratch" /usr/sbin/policy-rc.d' EXIT
fi
apt-get update -qq
if [ ${#missing[@]} -gt 0 ]; then
    apt-get install -y -qq --no-install-recommends "${missing[@]}" >"$scratch/log" 2>&1 || {
        cat "$scratch/log" >&2
        exit 1
    }
fi

if [ "$has_exim" = no ]; then
    # Downloaded by apt's own user, who has to get in.
    chmod 777 "$scratch"
    (cd "$scratch" && apt-get download -qq exim4-daemon-light && dpkg-deb --extract exim4-daemon-light_*.deb .)
    install -D "$scratch/usr/sbin/exim4" "$exim_home/bin/exim4"
    id Debian-exim >/dev/null 2>&1 ||
        useradd --system --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin Debian-exim
fi
