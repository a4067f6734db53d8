#!/usr/bin/env bash
# Make sure that a redis-server is installed: the tests start private ones on free loopback ports.
set -euo pipefail

if command -v redis-server >/dev/null; then
    exit 0
fi

as_root=()
if [ "$(id -u)" != 0 ]; then
    as_root=(sudo -n)
fi
if ! command -v apt-get >/dev/null || ! "${as_root[@]+"${as_root[@]}"}" true 2>/dev/null; then
    echo "redis: the tests need redis-server, and it cannot be installed from here." \
        "Install it (apt-get install redis-server, or brew install redis) and run this again" >&2
    exit 1
fi

echo "Installing redis-server"
# RUNLEVEL=1: install the program without starting a system-wide server.
install=("${as_root[@]+"${as_root[@]}"}" env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 apt-get -qq)
if ! { "${install[@]}" update && "${install[@]}" install --yes --no-install-recommends redis-server; } >/dev/null; then
    echo "redis: apt-get could not install redis-server (its messages are above)." \
        "Install it by hand and run this again" >&2
    exit 1
fi
