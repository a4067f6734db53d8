#!/usr/bin/env bash
# Build .venv and install the pinned requirement files named as arguments, and the project itself.
# Settings: PYTHON=/path/to/python3 picks the interpreter; pip's own (PIP_EXTRA_INDEX_URL, ...) pass through.
set -euo pipefail
cd "$(dirname "$0")/.."

python=""
for name in ${PYTHON:-} python3.11 python3.12 python3.13 python3.14 python3 python; do
    # Run it: a name on PATH may be a shim without an interpreter behind it.
    if "$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then
        python=$name
        break
    fi
done
if [ -z "$python" ]; then
    echo "setup: no Python 3.11 or newer found. Install one (apt-get install python3 python3-venv)," \
        "or name it: PYTHON=/path/to/python3 make setup" >&2
    exit 1
fi

if ! .venv/bin/python -m pip --version >/dev/null 2>&1; then
    if ! "$python" -c 'import ensurepip, venv' >/dev/null 2>&1; then
        version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
        echo "setup: $python cannot build environments. Install what it lacks" \
            "(apt-get install python$version-venv) and run this again" >&2
        exit 1
    fi
    echo "Building .venv with $("$python" --version)"
    "$python" -m venv --clear .venv
fi

echo "Installing the pinned requirements into .venv (the first time: a few minutes)"
requirements=()
for file in "$@"; do
    requirements+=(--requirement "$file")
done
install=(.venv/bin/python -m pip install --quiet --disable-pip-version-check)
# The files are complete, so nothing beside them is looked for; what is already there in the pinned version stays.
"${install[@]}" --require-hashes --no-deps "${requirements[@]}"
# torch has no hash (see the file); what every build of it needs is installed by now.
"${install[@]}" --requirement requirements/torch.txt
# setuptools is pinned too, so nothing is fetched for the build. It warns about every editable installation.
PYTHONWARNINGS=ignore "${install[@]}" --no-deps --no-build-isolation --editable .
if ! lacking=$(.venv/bin/python -m pip check --disable-pip-version-check); then
    echo "$lacking" >&2
    echo "setup: the pinned requirements are not complete or do not agree on this machine" >&2
    exit 1
fi
