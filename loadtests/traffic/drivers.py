"""One window of load on one server, by each of the generators: a subprocess on the load's core."""

import dataclasses
import importlib.util
import json
import sys
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Final

from userip import loadtests
from userip.loadtests.errors import GeneratorError
from userip.loadtests.scenarios import Generator
from userip.loadtests.servers.processes import run_to_end
from userip.loadtests.traffic.figures import Figures
from userip.loadtests.traffic.generator import Plan


def drive(plan: Plan, generator: Generator, core: int) -> Figures:
    """Load one server for one window. Raises GeneratorError when the generator gives no figures."""
    if plan.prefill and generator != "own":
        _own(replace(plan, rate=None, seconds=0.01, warm_up=0.0), core)
    return DRIVERS[generator](plan, core)


def missing(generator: Generator) -> str | None:
    """Why a generator cannot be used here, and the fix."""
    if generator == "locust" and importlib.util.find_spec("locust") is None:
        return "Locust is not installed: pip install 'userip[load]'"
    return None


def _own(plan: Plan, core: int) -> Figures:
    command = [sys.executable, "-m", "userip.loadtests.traffic.generator"]
    return _figures(run_to_end(command, json.dumps(dataclasses.asdict(plan)), (core,), plan.seconds + 120))


def _locust(plan: Plan, core: int) -> Figures:
    with tempfile.TemporaryDirectory(prefix="userip-locust-") as directory:
        summary = Path(directory) / "summary.json"
        given = {
            "--locustfile": Path(loadtests.__file__).with_name("locustfile.py"),
            "--host": f"http://{plan.host}:{plan.port}",
            "--users": 1 if plan.rate else plan.connections,
            "--spawn-rate": 100,  # a second; Locust warns above it
            "--seconds": plan.seconds,
            "--stop-timeout": 5,
            "--loglevel": "ERROR",
            "--workload": plan.workload,
            "--expected": plan.expected or "",
            "--rate": plan.rate or 0,
            "--warm-up": plan.warm_up,
            "--seed": plan.seed,
            "--server-pid": plan.server or 0,
            "--summary": summary,
        }
        command = [sys.executable, "-m", "locust", "--headless", "--only-summary"]
        # Locust ends with 1 when a request has failed; that is for the row to say.
        command += ["--exit-code-on-error", "0"]
        command += [f"{name}={value}" for name, value in given.items()]
        run_to_end(command, cores=(core,), timeout=plan.seconds + 120)
        return _figures(summary.read_text())


def _figures(text: str) -> Figures:
    try:
        row = json.loads(text)
        return Figures(**row | {"quantiles": tuple((share, ms) for share, ms in row["quantiles"])})
    except (ValueError, KeyError, TypeError) as error:
        raise GeneratorError(f"the generator's figures cannot be read ({error}): {text[:200]!r}") from None


DRIVERS: Final[dict[Generator, Callable[[Plan, int], Figures]]] = {"own": _own, "locust": _locust}
