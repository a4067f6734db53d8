"""wrk as a second, independent load generator: the same requests in a closed loop, by a Lua script."""

import json
import shutil
from pathlib import Path
from typing import Final

from userip.files import write_text
from userip.loadtests.figures import SHARES, Figures
from userip.loadtests.servers.cores import cpu_seconds
from userip.loadtests.servers.processes import HOST, run_to_end
from userip.loadtests.traffic.workload import Workload

MISSING: Final = "wrk is not installed: tools/wrk.sh installs it"

# wrk counts in microseconds. `latency:percentile` takes per cent; its histogram ends at what was measured.
_SCRIPT: Final = """\
local requests, number = {{}}, 0
for line in io.lines({file}) do
  local path, body = line:match("^(%S+) (.*)$")
  if body == "" then body = nil end
  requests[#requests + 1] = wrk.format({method}, path, {{["Content-Type"] = "application/json"}}, body)
end
function request()
  number = number % #requests + 1
  return requests[number]
end
function done(summary, latency)
  local at = {{}}
  for _, share in ipairs({{{shares}}}) do
    at[#at + 1] = string.format("[%.17g,%.17g]", share, latency:percentile(share * 100) / 1000)
  end
  local errors = summary.errors
  io.write(string.format(
    'FIGURES {{"requests":%d,"seconds":%.17g,"failed":%d,"quantiles":[%s]}}\\n',
    summary.requests, summary.duration / 1e6,
    errors.connect + errors.read + errors.write + errors.timeout + errors.status, table.concat(at, ",")))
end
"""


def installed() -> bool:
    """Whether wrk can be run here."""
    return shutil.which("wrk") is not None


def write_script(workload: Workload, file: Path) -> None:
    """Write the Lua script, and beside it the requests: a path and a body a line."""
    lines = file.with_suffix(".txt")
    write_text(lines, "".join(f"{workload.path(i)} {workload.body(i).decode()}\n" for i in range(len(workload))))
    shares = ",".join(str(share) for share in (*SHARES, 0.5, 0.95, 0.99))
    write_text(file, _SCRIPT.format(file=json.dumps(str(lines)), method=json.dumps(workload.method), shares=shares))


def run_wrk(script: Path, port: int, server: int, connections: int, seconds: float, core: int) -> Figures:
    """Load for `seconds`; `server` is the process whose time is taken. Raises GeneratorError."""
    used = cpu_seconds(server)
    command = ["wrk", "-t1", f"-c{connections}", f"-d{max(round(seconds), 1)}s", "-s", str(script)]
    out = run_to_end([*command, f"http://{HOST}:{port}"], cores=(core,), timeout=seconds + 60)
    return read_figures(out, cpu_seconds(server) - used)


def read_figures(out: str, server_seconds: float) -> Figures:
    """Figures of what wrk with our script printed."""
    seen = json.loads(out.partition("FIGURES ")[2].splitlines()[0])
    *quantiles, (_, p50), (_, p95), (_, p99) = seen["quantiles"]
    right = seen["requests"] - seen["failed"]
    return Figures(
        p50_ms=p50,
        p95_ms=p95,
        p99_ms=p99,
        throughput=right / seen["seconds"],
        requests=right,
        failed=seen["failed"],
        verified=0,
        wrong=0,
        late_ms=None,
        generator_cpu=None,
        server_cpu=server_seconds / seen["seconds"],
        quantiles=tuple((share, ms) for share, ms in quantiles),
        failures={},
    )
