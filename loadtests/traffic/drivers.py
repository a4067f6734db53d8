"""One window of load on one server, by each of the generators: a subprocess on the load's core."""

import dataclasses
import importlib.util
import json
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from userip import loadtests
from userip.loadtests.errors import GeneratorError
from userip.loadtests.figures import Figures
from userip.loadtests.scenarios import Generator, Scenario
from userip.loadtests.servers.processes import HOST, run_to_end
from userip.loadtests.traffic.generator import Plan


@dataclass(frozen=True)
class Window:
    """What to send and where; `server` is the process whose CPU time is taken.

    With `prefill` the whole pool is asked for once before, so that a cache that keeps all records has them.
    """

    scenario: Scenario
    port: int
    server: int
    workload: Path
    expected: Path | None
    rate: float | None
    prefill: bool
    seed: int


def drive(window: Window, core: int) -> Figures:
    """Load one server for one window. Raises GeneratorError when the generator gives no figures."""
    if window.prefill and window.scenario.generator != "own":
        short = replace(window.scenario, generator="own", rate=None, share=None, seconds=0.01)
        _own(replace(window, scenario=short, rate=None), core)
    return DRIVERS[window.scenario.generator](window, core)


def missing(generator: Generator) -> str | None:
    """Why a generator cannot be used here, and the fix."""
    if generator == "locust" and importlib.util.find_spec("locust") is None:
        return "Locust is not installed: pip install 'userip[load]'"
    return None


def _own(window: Window, core: int) -> Figures:
    scenario = window.scenario
    plan = Plan(
        port=window.port,
        workload=str(window.workload),
        expected=str(window.expected) if window.expected else None,
        connections=scenario.connections,
        seconds=scenario.seconds,
        warm_up=scenario.warm_up,
        rate=window.rate,
        prefill=window.prefill,
        seed=window.seed,
        server=window.server,
    )
    command = [sys.executable, "-m", "userip.loadtests.traffic.generator"]
    out = run_to_end(command, json.dumps(dataclasses.asdict(plan)), (core,), scenario.seconds + 120)
    return _figures(out)


def _locust(window: Window, core: int) -> Figures:
    scenario = window.scenario
    with tempfile.TemporaryDirectory(prefix="userip-locust-") as directory:
        summary = Path(directory) / "summary.json"
        given = {
            "--locustfile": Path(loadtests.__file__).with_name("locustfile.py"),
            "--host": f"http://{HOST}:{window.port}",
            "--users": 1 if window.rate else scenario.connections,
            "--spawn-rate": 100,  # a second; Locust warns above it
            "--seconds": scenario.seconds,
            "--stop-timeout": 5,
            "--loglevel": "ERROR",
            "--workload": window.workload,
            "--expected": window.expected or "",
            "--rate": window.rate or 0,
            "--warm-up": scenario.warm_up,
            "--seed": window.seed,
            "--server-pid": window.server,
            "--summary": summary,
        }
        command = [sys.executable, "-m", "locust", "--headless", "--only-summary"]
        # Locust ends with 1 when a request has failed; that is for the row to say.
        command += ["--exit-code-on-error", "0"]
        command += [f"{name}={value}" for name, value in given.items()]
        run_to_end(command, cores=(core,), timeout=scenario.seconds + 120)
        return _figures(summary.read_text())


def _figures(text: str) -> Figures:
    try:
        row = json.loads(text)
        return Figures(**row | {"quantiles": tuple((share, ms) for share, ms in row["quantiles"])})
    except (ValueError, KeyError, TypeError) as error:
        raise GeneratorError(f"the generator's figures cannot be read ({error}): {text[:200]!r}") from None


DRIVERS: Final[dict[Generator, Callable[[Window, int], Figures]]] = {"own": _own, "locust": _locust}
