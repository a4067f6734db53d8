#!/usr/bin/env bash
# Pin every requirement file from pyproject.toml. Each layer is constrained by those before it, so that any
# of them can be installed together. Arguments go to pip-compile (--upgrade: take the newest versions).
# LOCK_INDEX: the index whose hashes are pinned, PyPI's if it is not set.
set -euo pipefail
cd "$(dirname "$0")/.."

# A lock that fails leaves the files as they were: without hashes they would install, unchecked.
before=$(mktemp -d)
cp requirements/*.txt "$before"
trap 'rm -rf "$before"' EXIT
trap 'cp "$before"/*.txt requirements/; echo "lock: failed, requirements/ is as before" >&2' ERR

export CUSTOM_COMPILE_COMMAND="make lock"
# The files name versions only: where they come from is the machine's setting.
options=(--quiet --strip-extras --allow-unsafe --no-emit-index-url --no-emit-find-links --no-emit-trusted-host)
for layer in base train load dev baselines tracing build; do
    file=requirements/$layer.txt
    case $layer in
        base) wanted=() ;;
        build) wanted=(--only-build-deps --build-deps-for wheel) ;;
        *) wanted=(--extra "$layer") ;;
    esac
    if [ "$layer" != base ]; then
        options+=(--constraint "$previous")
    fi
    echo "Pinning $file"
    .venv/bin/pip-compile "${options[@]}" "${wanted[@]+"${wanted[@]}"}" "$@" --output-file "$file" pyproject.toml
    previous=$file
done
.venv/bin/python tools/pin_hashes.py requirements --known "$before" --index "${LOCK_INDEX:-https://pypi.org/simple}"
