#!/usr/bin/env bash
# Make sure that wrk is installed: `userip bench` checks its own load generator with it.
set -euo pipefail

if command -v wrk >/dev/null; then
    exit 0
fi

as_root=()
if [ "$(id -u)" != 0 ]; then
    as_root=(sudo -n)
fi
if ! command -v apt-get >/dev/null || ! "${as_root[@]+"${as_root[@]}"}" true 2>/dev/null; then
    echo "wrk: it cannot be installed from here; the bench leaves its two rows out." \
        "To have them, install it (apt-get install wrk, or brew install wrk)" >&2
    exit 1
fi

echo "Installing wrk"
install=("${as_root[@]+"${as_root[@]}"}" env DEBIAN_FRONTEND=noninteractive apt-get -qq)
if ! { "${install[@]}" update && "${install[@]}" install --yes --no-install-recommends wrk; } >/dev/null; then
    echo "wrk: apt-get could not install it (its messages are above); the bench leaves its two rows out" >&2
    exit 1
fi
