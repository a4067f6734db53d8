"""`make chaos`: faults that take minutes, each with its bound. The quick ones are in tests/faults.

    python -m userip.loadtests.faults.chaos                  all of them
    python -m userip.loadtests.faults.chaos --only outage    those whose name begins so
    python -m userip.loadtests.faults.chaos --out gates.json

It starts its own redis-server and services on free loopback ports. Exit code 1 when a bound is missed.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

from userip.errors import UserIPError
from userip.files import json_text, write_text
from userip.loadtests.faults.lookups import publish_planted, storm
from userip.loadtests.faults.outage import outage
from userip.loadtests.faults.overload import overload
from userip.loadtests.faults.rig import FaultRig
from userip.loadtests.faults.swaps import swap_under_load
from userip.loadtests.gates import Gate
from userip.loadtests.servers.redis_server import RedisServer
from userip.processes import interrupt_on_signals

_LOOKUPS: Final = 100_000
_USERS: Final = 50_000


def lookups(count: int) -> list[Gate]:
    """`count` lookups at once, a third cancelled, against a redis-server of their own."""
    with RedisServer() as redis:
        publish_planted(redis.url, _USERS)
        seen = storm(redis.url, lookups=count, users=_USERS)
    how = f"{seen.right:,} right, {seen.cancelled:,} cancelled, {seen.unavailable:,} without an answer"
    return [
        Gate(f"wrong records in {count:,} coalesced lookups", seen.wrong, "0", not seen.wrong, how),
        Gate("connections that never came back", seen.in_use, "0", not seen.in_use, how),
    ]


# name -> (seconds that it takes, what is done)
FAULTS: Final[Mapping[str, tuple[float, Callable[[FaultRig], list[Gate]]]]] = {
    "outage-uncached": (50, lambda rig: outage(rig, "outage, cache off", 30, "cache_records=0")),
    "outage-cached": (50, lambda rig: outage(rig, "outage, cache on", 30)),
    "outage-replica": (
        50,
        lambda rig: outage(
            rig,
            "outage, replica",
            30,
            "cache_records=0",
            f"replica_dir={rig.directory / 'replica'}",
            "replica_seconds=1",
        ),
    ),
    "overload-cached": (70, lambda rig: overload(rig, "cache on", 4)),
    "overload-uncached": (70, lambda rig: overload(rig, "cache off", 4, "cache_records=0")),
    "lookups": (30, lambda _: lookups(_LOOKUPS)),
    "swaps": (60, lambda rig: swap_under_load(rig.directory / "swaps", 200)),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what `--only` chooses, print each gate, and give the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="the faults whose names begin so")
    parser.add_argument("--out", type=Path, help="write the gates to this JSON file, too")
    options = parser.parse_args(arguments)
    chosen = {name: fault for name, fault in FAULTS.items() if name.startswith(options.only)}
    if not chosen:
        parser.error(f"--only {options.only}: there are {', '.join(FAULTS)}")
    interrupt_on_signals()
    gates: list[Gate] = []
    try:
        with tempfile.TemporaryDirectory(prefix="userip-chaos-") as directory, FaultRig(Path(directory)) as rig:
            left = sum(seconds for seconds, _ in chosen.values())
            for name, (seconds, fault) in chosen.items():
                print(f"{time.strftime('%H:%M:%S')} {name}; about {left:.0f} s are left", flush=True)
                found = fault(rig)
                for gate in found:
                    print(f"  {gate.summary()}", flush=True)
                gates += found
                left -= seconds
    except UserIPError as error:
        print(f"chaos: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("chaos: interrupted", file=sys.stderr)
        return 130
    if options.out:
        write_text(options.out, json_text([gate._asdict() for gate in gates]))
    missed = [gate.gate for gate in gates if not gate.ok]
    print(f"{len(gates) - len(missed)} of {len(gates)} gates hold" + "".join(f"\n  missed: {name}" for name in missed))
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
