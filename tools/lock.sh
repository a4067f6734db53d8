#!/usr/bin/env bash
# Pin every requirement file from pyproject.toml. Each layer is constrained by those before it, so that any
# of them can be installed together. Arguments go to pip-compile (--upgrade: take the newest versions).
set -euo pipefail
cd "$(dirname "$0")/.."

export CUSTOM_COMPILE_COMMAND="make lock"
# The files name versions only: where they come from is the machine's setting.
options=(--quiet --strip-extras --allow-unsafe --no-emit-index-url --no-emit-find-links --no-emit-trusted-host)
for layer in base train load dev baselines tracing; do
    file=requirements/$layer.txt
    if [ "$layer" != base ]; then
        options+=(--constraint "$previous")
    fi
    extra=()
    if [ "$layer" != base ]; then
        extra=(--extra "$layer")
    fi
    echo "Pinning $file"
    .venv/bin/pip-compile "${options[@]}" "${extra[@]+"${extra[@]}"}" "$@" --output-file "$file" pyproject.toml
    # torch's CPU and CUDA builds share a version; which one is installed is the machine's choice as well.
    sed -i.bak -E 's/^(torch==[^+]+)\+[a-z0-9]+$/\1/' "$file"
    rm "$file.bak"
    previous=$file
done
