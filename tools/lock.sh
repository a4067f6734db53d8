#!/usr/bin/env bash
# Pin every requirement file from pyproject.toml: for every platform, with the hash of every file. Each layer is
# constrained by those before it, so that any of them can be installed together. Pins that fit stay as they are.
# Arguments go to `uv pip compile` (--upgrade: take the newest versions); uv's own settings (UV_DEFAULT_INDEX, ...) too.
set -euo pipefail
cd "$(dirname "$0")/.."

# A lock that fails leaves the files as they were.
before=$(mktemp -d)
cp requirements/*.txt "$before"
trap 'rm -rf "$before"' EXIT
trap 'cp "$before"/*.txt requirements/; echo "lock: failed, requirements/ is as before" >&2' ERR

# torch.txt has torch alone, and says why; its version is the one that pyproject.toml declares.
pin=$(grep -oE '"torch==[^"]+"' pyproject.toml | tr -d '"')
sed -i.old "s/^torch==.*/$pin/" requirements/torch.txt
rm requirements/torch.txt.old

export UV_CUSTOM_COMPILE_COMMAND="make lock"
options=(--quiet --universal --python-version 3.11 --generate-hashes --no-emit-package torch
    --fork-strategy fewest --constraints requirements/torch.txt)
for layer in base train load dev baselines tracing build; do
    file=requirements/$layer.txt
    case $layer in
        base) wanted=(pyproject.toml) ;;
        build) wanted=(-) ;;
        *) wanted=(pyproject.toml --extra "$layer") ;;
    esac
    echo "Pinning $file"
    sed -n 's/^requires = \["\(.*\)"\]$/\1/p' pyproject.toml |
        .venv/bin/uv pip compile "${options[@]}" "${wanted[@]}" "$@" --output-file "$file" >/dev/null
    options+=(--constraints "$file")
done
