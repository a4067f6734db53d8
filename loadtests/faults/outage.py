"""Redis is stopped for a while (SIGSTOP) under a steady load: do clients notice?"""

import threading
import time
from typing import Final

from userip.loadtests.faults.rig import FaultRig, p99_ms, shares
from userip.loadtests.gates import Gate

RATE: Final = 300.0
DEADLINE_MS: Final = 50.0  # the default of `bank_deadline_ms`
ROOM_MS: Final = 20.0
BACK_S: Final = 1.0
_BEFORE_S: Final = 3.0
_AFTER_S: Final = 5.0


def outage(rig: FaultRig, name: str, seconds: float, *settings: str) -> list[Gate]:
    """Stop Redis for `seconds` under RATE requests/s of a service with `settings`, and judge the answers."""
    rig.serve(*settings)
    traffic = rig.traffic()
    traffic.ask_everything()
    moments: list[float] = []

    def stop_and_go() -> None:
        time.sleep(_BEFORE_S)
        rig.redis.pause()
        moments.append(time.perf_counter())
        time.sleep(seconds)
        moments.append(time.perf_counter())
        rig.redis.resume()

    fault = threading.Thread(target=stop_and_go)
    fault.start()
    try:
        answers = traffic.at_rate(RATE, _BEFORE_S + seconds + _AFTER_S)
    finally:
        fault.join()  # Redis is never left standing
        traffic.close()
    stopped, resumed = moments
    during = [answer for answer in answers if stopped <= answer.due < resumed]
    after = [answer for answer in answers if answer.due >= resumed]
    failed = [answer for answer in answers if answer.status != 200]
    late = [answer.due + answer.latency - resumed for answer in after if answer.profile != "known"]
    back = max(late, default=0.0)
    p99, known = p99_ms(during), sum(answer.profile == "known" for answer in during)
    unsent = traffic.failures["not sent"]
    return [
        Gate(f"{name}: answers that are no 200", len(failed) + unsent, "0", not failed and not unsent, shares(answers)),
        Gate(
            f"{name}: p99 while Redis stands still, ms",
            p99,
            f"<= {DEADLINE_MS + ROOM_MS:g}",
            p99 <= DEADLINE_MS + ROOM_MS,
            f"{len(during):,} requests in {seconds:g} s, {known:,} of them known; {p99_ms(after):.1f} ms afterwards",
        ),
        Gate(f"{name}: seconds until all are known again", back, f"<= {BACK_S:g}", back <= BACK_S, shares(after)),
        Gate(f"{name}: known users whose scores changed", traffic.wrong, "0", not traffic.wrong, "byte by byte"),
    ]
