"""`make soak`: hours of steady load. Does anything grow?

    python -m userip.loadtests.faults.soak --duration 1h --out soak.json

Requests at a fixed rate, a fold-in every few seconds, and a look every few seconds at latency, memory and open files
of the service. What grows shows as a slope: least squares over the looks after the warm-up, with an interval from a
moving-block bootstrap, since neighbouring looks are alike. A figure holds when its slope may be zero (99 %), or when it
moves by less than its tolerance over the whole time. Exit code 1 when one does not.
"""

import argparse
import os
import re
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from userip.bank import Record, open_bank
from userip.errors import UserIPError
from userip.files import json_text, write_text
from userip.loadtests.errors import BenchInputError
from userip.loadtests.faults.rig import FaultRig, p99_ms
from userip.loadtests.gates import Gate
from userip.loadtests.servers.cores import family, rss_mb
from userip.processes import interrupt_on_signals

RATE: Final = 200.0
_WARM_UP: Final = 0.2  # of the time: caches fill, and the allocator finds its size
_SAMPLES: Final = 2_000  # of the bootstrap
_SECONDS: Final = {"": 1, "s": 1, "m": 60, "h": 3600}


class Look(NamedTuple):
    """What one look saw."""

    at: float
    p50_ms: float
    p99_ms: float
    rss_mb: float
    descriptors: float
    failed: int


# figure -> how much it may move over the whole time, as a share of its mean, or as a number
TOLERANCES: Final = {"p50_ms": (0.10, 0.0), "p99_ms": (0.25, 0.0), "rss_mb": (0.03, 0.0), "descriptors": (0.0, 2.0)}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run, print a line per look and then each slope, and give the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--duration", default="1h", help="30s, 10m, 2h")
    parser.add_argument("--every", type=float, default=5.0, help="seconds between two looks")
    parser.add_argument("--out", type=Path, help="write looks and gates to this JSON file")
    options = parser.parse_args(arguments)
    interrupt_on_signals()
    looks: list[Look] = []
    try:
        seconds = seconds_of(options.duration)
        with tempfile.TemporaryDirectory(prefix="userip-soak-") as directory, FaultRig(Path(directory)) as rig:
            _soak(rig, seconds, options.every, looks)
    except UserIPError as error:
        print(f"soak: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("soak: interrupted; judged is what was seen", file=sys.stderr)
    gates = judge(looks)
    for gate in gates:
        print(gate.summary())
    if options.out:
        rows = {"gates": [gate._asdict() for gate in gates], "looks": [look._asdict() for look in looks]}
        write_text(options.out, json_text(rows))
    return 0 if all(gate.ok for gate in gates) else 1


def seconds_of(duration: str) -> float:
    """`90`, `30s`, `10m` or `2h` in seconds. Raises BenchInputError."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([smh]?)", duration)
    if found is None:
        raise BenchInputError(f"--duration {duration}: write 30s, 10m or 2h")
    return float(found[1]) * _SECONDS[found[2]]


def _soak(rig: FaultRig, seconds: float, every: float, looks: list[Look]) -> None:
    service = rig.serve("cache_records=1000", "cache_ttl_seconds=2")  # small: records come and go all the time
    traffic = rig.traffic()
    bank = open_bank(rig.redis.url)
    release = bank.active()
    assert release is not None, "the rig has published it"
    try:
        traffic.ask_everything()
        begun = time.monotonic()
        while (at := time.monotonic() - begun) < seconds:
            answers = traffic.at_rate(RATE, every)
            bank.upsert(release, {f"new-{len(looks) % 500}": Record(0, (0, 0))})
            latencies = [answer.latency for answer in answers]
            looks.append(
                Look(
                    at,
                    float(np.median(latencies)) * 1000,
                    p99_ms(answers),
                    rss_mb(service.pid),
                    float(sum(len(os.listdir(f"/proc/{pid}/fd")) for pid in family(service.pid))),
                    sum(answer.status != 200 for answer in answers),
                )
            )
            look = looks[-1]
            left = max(0.0, seconds - at - every) / 60
            print(
                f"{time.strftime('%H:%M:%S')} p50 {look.p50_ms:.2f} p99 {look.p99_ms:.2f} ms, {look.rss_mb:.1f} MiB, "
                f"{look.descriptors:.0f} files, {look.failed} failed; {left:.1f} min left",
                flush=True,
            )
    finally:
        traffic.close()
        bank.close()


def judge(looks: Sequence[Look]) -> list[Gate]:
    """A gate for each slope, and one for failed requests."""
    kept = looks[int(len(looks) * _WARM_UP) :]
    failed = sum(look.failed for look in looks)
    gates = [Gate("failed requests", failed, "0", not failed, f"{len(looks)} looks")]
    if len(kept) < 10:
        return [*gates, Gate("slopes", None, "10 looks", None, f"{len(kept)} looks after the warm-up are too few")]
    times = np.array([look.at for look in kept])
    for name, (share, number) in TOLERANCES.items():
        values = np.array([getattr(look, name) for look in kept])
        span = float(times[-1] - times[0])
        low, high = slope_interval(times, values)
        slope = float(np.polyfit(times, values, 1)[0])
        allowed = share * float(values.mean()) + number
        ok = low <= 0 <= high or abs(slope) * span <= allowed
        how = f"99 %: {low * 3600:+.3g} to {high * 3600:+.3g}; mean {values.mean():.4g}"
        gates.append(Gate(f"{name} per hour", slope * 3600, f"0, or +-{allowed:.3g} in {span:.0f} s", ok, how))
    return gates


def slope_interval(times: NDArray[np.float64], values: NDArray[np.float64], seed: int = 0) -> tuple[float, float]:
    """The 99 % interval of the slope of `values` [n] over `times` [n], from residuals drawn in blocks of sqrt(n)."""
    slope, start = np.polyfit(times, values, 1)
    line = start + slope * times
    residuals, n = values - line, len(times)
    block = max(1, round(n**0.5))
    rng = np.random.default_rng(seed)
    firsts = rng.integers(0, n - block + 1, (_SAMPLES, -(-n // block)))
    drawn = (firsts[:, :, None] + np.arange(block)).reshape(_SAMPLES, -1)[:, :n]
    centred = times - times.mean()
    slopes = ((line + residuals[drawn]) @ centred) / (centred @ centred)
    low, high = np.quantile(slopes, (0.005, 0.995))
    return float(low), float(high)


if __name__ == "__main__":
    sys.exit(main())
