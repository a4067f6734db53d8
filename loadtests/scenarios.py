"""What the bench measures, as data.

A scenario is one kind of load, put on each of its variants in turns (A B C A B C), `repeats` times.

closed loop   `rate` and `share` are None: each connection sends its next request when it has its answer
open loop     Poisson arrivals at `rate` requests/s, or at `share` of the throughput that the variant `of` (None:
              each variant itself) reached in the closed-loop scenario `base`
cache         off: no records are kept in the service; cold: one is, so nearly every lookup misses and evicts;
              warm: all are, and each was asked for before
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal

from userip.loadtests.errors import BenchInputError

Route = Literal["/score", "/score/batch", "/profile"]
Variant = Literal["dcn", "userip", "kar-online", "kar-prestored", "echo"]
Cache = Literal["off", "cold", "warm"]
Generator = Literal["own", "locust"]
Preset = Literal["quick", "full"]

ALL: Final[tuple[Variant, ...]] = ("dcn", "userip", "kar-online", "kar-prestored", "echo")
OURS: Final[tuple[Variant, ...]] = ("dcn", "userip", "kar-online", "kar-prestored")
SATURATION: Final = "score-100"
GATE_RATE: Final = "score-100-at-40"


@dataclass(frozen=True)
class Scenario:
    """One kind of load; the module's docstring says what the fields mean. `seconds` are of one measured window."""

    name: str
    route: Route = "/score"
    candidates: int = 100
    batch: int = 1  # requests in one body of /score/batch
    connections: int = 32
    rate: float | None = None
    share: float | None = None
    of: Variant | None = None
    base: str = SATURATION
    cache: Cache = "warm"
    workers: int = 1
    variants: tuple[Variant, ...] = ("userip",)
    generator: Generator = "own"
    seconds: float = 1.5
    repeats: int = 3

    @property
    def closed(self) -> bool:
        """Whether a request waits for the answer before it."""
        return self.rate is None and self.share is None

    @property
    def instances(self) -> int:
        """User-item pairs of one HTTP request."""
        return self.batch * self.candidates if self.route != "/profile" else 0

    @property
    def warm_up(self) -> float:
        """Seconds of load before the measured window."""
        return 0.3 if self.generator == "own" else 1.0


QUICK: Final = (
    Scenario(SATURATION, variants=ALL),
    *(Scenario(f"score-100-by-{connections}", connections=connections, seconds=1.2) for connections in (1, 8, 64, 256)),
    Scenario("score-100-uncached", cache="off", variants=("dcn", "userip", "echo")),
    Scenario("score-100-cold", cache="cold"),
    Scenario(GATE_RATE, share=0.4, of="userip", connections=64, variants=("dcn", "userip"), seconds=2, repeats=5),
    Scenario("score-100-at-kar-40", share=0.4, of="kar-online", connections=64, variants=OURS),
    Scenario("score-1", candidates=1, variants=("dcn", "userip", "kar-online"), repeats=2),
    Scenario("score-10", candidates=10, variants=("dcn", "userip", "kar-online"), repeats=2),
    Scenario("score-500", candidates=500, variants=("dcn", "userip", "kar-online"), repeats=2),
    Scenario("batch-16x100", route="/score/batch", batch=16, connections=8, repeats=2),
    Scenario("profile", route="/profile", repeats=2),
    Scenario("score-100-workers-2", workers=2, repeats=2),
    Scenario("score-100-locust", generator="locust", variants=("userip", "echo"), seconds=3, repeats=1),
    Scenario("score-100-locust-200", generator="locust", rate=200, variants=("dcn", "userip"), seconds=3, repeats=1),
    Scenario("score-100-own-200", rate=200, variants=("dcn", "userip"), seconds=3, repeats=1),
)


def _longer(scenario: Scenario) -> Scenario:
    return replace(scenario, seconds=10.0, repeats=max(scenario.repeats, 5 if scenario.closed else 7))


# The quick ones for longer, every variant at every number of candidates, and curves of latency over the rate.
FULL: Final = (
    *(
        _longer(replace(scenario, variants=OURS) if scenario.name in ("score-1", "score-10", "score-500") else scenario)
        for scenario in QUICK
    ),
    *(
        Scenario(f"score-100-at-own-{percent}", share=percent / 100, connections=64, variants=OURS, seconds=10.0)
        for percent in (10, 20, 30, 40, 50, 60, 70, 80, 90)
    ),
    *(
        Scenario(f"score-{n}-at-100", candidates=n, rate=100, connections=64, variants=OURS, seconds=10.0)
        for n in (1, 10, 100, 500)
    ),
    *(
        Scenario(f"score-100-locust-{rate}", generator="locust", rate=rate, variants=("dcn", "userip"), seconds=10.0)
        for rate in (50, 400)
    ),
    Scenario("batch-16x100-uncached", route="/score/batch", batch=16, connections=8, cache="off", seconds=10.0),
    Scenario("profile-at-500", route="/profile", rate=500, connections=64, seconds=10.0),
    Scenario("score-100-workers-2-uncached", workers=2, cache="off", seconds=10.0),
)

PRESETS: Final[dict[Preset, tuple[Scenario, ...]]] = {"quick": QUICK, "full": FULL}


def choose(preset: Preset, only: Sequence[str] = ()) -> tuple[Scenario, ...]:
    """The scenarios of a preset, or those named `only` and the bases that their rates rest on.

    Raises BenchInputError naming a scenario that the preset does not have.
    """
    known = {scenario.name: scenario for scenario in PRESETS[preset]}
    for name in only:
        if name not in known:
            raise BenchInputError(f"--only {name}: the preset {preset} has {', '.join(known)}")
    wanted = {*only, *(known[name].base for name in only if known[name].share is not None)}
    return tuple(scenario for scenario in known.values() if not only or scenario.name in wanted)
