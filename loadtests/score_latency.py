"""Latency of `POST /score` against a running service.

    python -m userip.loadtests.score_latency --url http://127.0.0.1:8000 --release RUN/release --candidates 100

Each connection sends one request after the other (closed loop). Users and items are those of the release, drawn by
Zipf's law. To measure at a fixed rate, or with Locust's page: `locust -f loadtests/locustfile.py`.
"""

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit

from userip.loadtests.errors import BenchInputError
from userip.loadtests.servers.cores import fine_timers
from userip.loadtests.traffic.generator import Plan, generate
from userip.loadtests.traffic.workload import make_workload, population_of_release


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print p50, p95, p99 and maximum in milliseconds, requests and scores per second, and failures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", default="http://127.0.0.1:8000")
    parser.add_argument("--release", type=Path, required=True, help="directory to take item and user ids from")
    parser.add_argument("--candidates", type=int, default=100)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--connections", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    place = urlsplit(options.url)
    fine_timers()
    try:
        population = population_of_release(options.release, options.seed)
        with tempfile.TemporaryDirectory(prefix="userip-load-") as directory:
            file = Path(directory) / "workload.json"
            make_workload(population, "/score", options.candidates, seed=options.seed).write(file)
            seen = generate(
                Plan(
                    host=place.hostname or "127.0.0.1",
                    port=place.port or 80,
                    workload=str(file),
                    connections=options.connections,
                    seconds=options.seconds,
                    warm_up=0.5,
                    seed=options.seed,
                )
            )
    except (OSError, BenchInputError) as error:
        sys.exit(f"score_latency: {options.url}: {error}")
    print(f"candidates   {options.candidates}, connections {options.connections}, requests {seen.requests}")
    if seen.quantiles:
        worst = seen.quantiles[-1][1]
        print(f"latency ms   p50 {seen.p50_ms:.3f}  p95 {seen.p95_ms:.3f}  p99 {seen.p99_ms:.3f}  max {worst:.3f}")
    print(f"throughput   {seen.throughput:.0f} requests/s, {seen.throughput * options.candidates:.0f} scores/s")
    print(f"failed       {seen.failed}")


if __name__ == "__main__":
    main()
