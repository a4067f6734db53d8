#!/usr/bin/env bash
# Write the software bill of materials: what is pinned, with the hashes of its files, as CycloneDX 1.6.
# The first argument names the file. cyclonedx-py lives in an environment of its own, which uv keeps.
set -euo pipefail
cd "$(dirname "$0")/.."

target=${1:-build/sbom.json}
mkdir -p "$(dirname "$target")"
# A library that several layers name is one component: of its pins, which agree, the first is taken.
awk '/^[a-z0-9]/ { taken = !seen[$1]++ } !/^ *(#|$)/ && taken' requirements/*.txt |
    .venv/bin/uv tool run --quiet --from cyclonedx-bom==7.5.0 cyclonedx-py requirements --pyproject pyproject.toml \
        --output-reproducible --output-file "$target" -
echo "$target: $(grep -c '"purl"' "$target") components"
