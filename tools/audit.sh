#!/usr/bin/env bash
# Look the pinned requirements up among published vulnerabilities, where a registry answers; else say so in one line.
# pip-audit lives in an environment of its own: it is a tool, and brings forty libraries that nothing here needs.
# AUDIT_URL: the registry whose answer decides; AUDIT_SECONDS: the most that the look-up may take.
set -euo pipefail
cd "$(dirname "$0")/.."

url=${AUDIT_URL:-https://pypi.org/pypi/pip/json}
seconds=${AUDIT_SECONDS:-120}
home=build/audit
python=${PYTHON:-.venv/bin/python}

if ! "$python" -c 'import sys, urllib.request as web; web.urlopen(sys.argv[1], timeout=3).read(1)' "$url" 2>/dev/null; then
    echo "audit: skipped, no registry answers"
    exit 0
fi
if [ ! -x "$home/bin/pip-audit" ]; then
    if ! { "$python" -m venv "$home" && "$home/bin/pip" --quiet install pip-audit==2.10.1; } >/dev/null 2>&1; then
        echo "audit: skipped, pip-audit cannot be installed from here"
        exit 0
    fi
fi

# Without the hashes: pip-audit wants them for all pins or for none, and torch has none.
pins=$(mktemp)
report=$(mktemp)
trap 'rm -f "$pins" "$report"' EXIT
grep -hoE '^[a-z0-9-]+==[^ ]+' requirements/*.txt | sort -u >"$pins"
timeout "$seconds" "$home/bin/pip-audit" --no-deps --disable-pip --progress-spinner off --timeout 10 \
    --format json --output "$report" --requirement "$pins" >/dev/null 2>&1 || true
# The answer is a file: without one the look-up itself failed, which is no finding. Nor is a pin of which the registry
# (a mirror, perhaps) knows nothing; but it is not found sound either.
if [ ! -s "$report" ]; then
    echo "audit: skipped, the registry did not answer within $seconds s"
    exit 0
fi
"$python" - "$report" <<'END'
import json, sys

pins = json.load(open(sys.argv[1], encoding="utf-8"))["dependencies"]
unknown = [pin["name"] for pin in pins if "skip_reason" in pin]
flaws = [(pin, flaw) for pin in pins for flaw in pin.get("vulns", ())]
for pin, flaw in flaws:
    fixed = ", ".join(flaw["fix_versions"]) or "no version"
    print(f"audit: {pin['name']} {pin['version']}: {flaw['id']}, fixed in {fixed}")
if flaws:
    sys.exit(1)
if len(unknown) == len(pins):
    print("audit: skipped, the registry has no record of any pinned requirement")
elif unknown:
    print(f"audit: no known vulnerability; of {', '.join(unknown)} the registry has no record")
else:
    print("audit: no known vulnerability in the pinned requirements")
END
