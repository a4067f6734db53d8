"""From the latencies of one window to the figures of a row."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

# Where an ECDF is kept: every per cent, and finer towards the tail.
SHARES: Final = (*(percent / 100 for percent in range(100)), 0.995, 0.999, 0.9999, 1.0)


@dataclass(frozen=True)
class Figures:
    """What a load generator saw in one window.

    throughput     right answers per second; requests counts them
    failed         other statuses than 200, broken connections, no answer; `failures` counts them by kind
    late_ms        how late the generator itself was, 99th percentile (None: closed loop, or it does not say)
    generator_cpu  its share of one core
    server_cpu     the server's, its workers together (None: not known)
    quantiles      (share, ms), also of p50, p95 and p99
    """

    p50_ms: float | None
    p95_ms: float | None
    p99_ms: float | None
    throughput: float
    requests: int
    failed: int
    verified: int
    wrong: int
    late_ms: float | None
    generator_cpu: float | None
    server_cpu: float | None
    quantiles: tuple[tuple[float, float], ...]
    failures: dict[str, int]

    def row(self) -> dict[str, Any]:
        """As columns of a row."""
        return asdict(self)


def figures(
    latencies: Sequence[float],
    seconds: float,
    *,
    failures: Mapping[str, int],
    counts: tuple[int, int] = (0, 0),
    lateness: Sequence[float] = (),
    cpu: float | None = None,
    server_cpu: float | None = None,
) -> Figures:
    """Figures of `latencies` and `lateness` (seconds) in a window of `seconds`; `counts`: verified, wrong."""
    times = np.asarray(latencies, dtype=np.float64) * 1000
    at = quantiles_of(times, SHARES)
    p50, p95, p99 = (value for _, value in quantiles_of(times, (0.5, 0.95, 0.99))) if len(times) else (None,) * 3
    late = float(np.quantile(np.asarray(lateness), 0.99) * 1000) if len(lateness) else None
    return Figures(
        p50_ms=p50,
        p95_ms=p95,
        p99_ms=p99,
        throughput=len(times) / seconds,
        requests=len(times),
        failed=sum(failures.values()),
        verified=counts[0],
        wrong=counts[1],
        late_ms=late,
        generator_cpu=cpu,
        server_cpu=server_cpu,
        quantiles=at,
        failures={why: count for why, count in failures.items() if count},
    )


def quantiles_of(times: NDArray[np.float64], shares: Sequence[float]) -> tuple[tuple[float, float], ...]:
    """(share, value) by the nearest-rank rule: a value that was measured, never one between two."""
    if not len(times):
        return ()
    values = np.quantile(times, shares, method="inverted_cdf")
    return tuple(zip(shares, values.tolist(), strict=True))
