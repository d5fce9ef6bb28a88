#!/bin/bash
# Install the two Debian packages that the OpenStack stand-in needs, without a daemon of theirs being started. Needs root.
set -euo pipefail

missing=()
for name in mariadb-server rabbitmq-server; do
    dpkg-query -W -f='${Status}' "$name" 2>/dev/null | grep -q 'install ok installed' || missing+=("$name")
done
[ ${#missing[@]} -gt 0 ] || exit 0

echo "==> Installing ${missing[*]}"
epmds() { for folder in /proc/[0-9]*; do [ "$(cat "$folder/comm" 2>/dev/null)" != epmd ] || echo "${folder#/proc/}"; done; }
before=$(epmds)
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod 755 "$policy"
    trap 'rm -f "$policy"' EXIT
fi
apt-get update -qq
DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 apt-get -o DPkg::Lock::Timeout=300 install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
if command -v systemctl >/dev/null && [ -d /run/systemd/system ]; then
    systemctl disable -q mariadb.service rabbitmq-server.service 2>/dev/null || true
fi
# The package of RabbitMQ leaves Erlang's port mapper running, on all interfaces.
for pid in $(epmds); do
    grep -qx "$pid" <<<"$before" || kill "$pid"
done
