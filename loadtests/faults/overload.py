"""Three times the load that the service can handle, at fixed arrival times: accepted requests stay fast."""

import http.client
import threading
import time
from typing import Final

import numpy as np

from userip.loadtests.faults.rig import FaultRig, p99_ms, shares
from userip.loadtests.gates import Gate
from userip.loadtests.servers.cores import pin
from userip.loadtests.servers.processes import HOST

CANDIDATES: Final = 500  # so expensive that the generator can ask for three times what the service can answer
TIMES: Final = 3.0
SLOWER: Final = 5.0
BACK_S: Final = 2.0
_UNLOADED: Final = 0.1  # of the capacity
_BODY: Final = b'{"user_id": "probe", "item_ids": []}'


class _Probe(threading.Thread):
    """Asks now and then on a connection of its own, until `end`; keeps status and Retry-After of each answer."""

    def __init__(self, port: int) -> None:
        super().__init__()
        self.end = threading.Event()
        self.seen: list[tuple[int, str | None]] = []
        self._port = port

    def run(self) -> None:
        connection = http.client.HTTPConnection(HOST, self._port, timeout=10)
        while not self.end.wait(0.01):
            try:
                connection.request("POST", "/score", _BODY)
                response = connection.getresponse()
                response.read()
                self.seen.append((response.status, response.getheader("retry-after")))
            except (OSError, http.client.HTTPException):
                self.seen.append((0, None))
                connection.close()
        connection.close()


def _capacity(rig: FaultRig, seconds: float) -> float:
    """Answers per second to so few connections that no request is refused for its time in the queue."""
    traffic = rig.traffic(CANDIDATES, connections=4)
    try:
        return sum(answer.status == 200 for answer in traffic.at_most(seconds)) / seconds
    finally:
        traffic.close()


def overload(rig: FaultRig, seconds: float) -> list[Gate]:
    """Measure the capacity, then ask for TIMES as much, then for a tenth, and judge the answers."""
    server = rig.serve("access_log_sample_rate=0")
    capacity = _capacity(rig, seconds)
    traffic = rig.traffic(CANDIDATES, connections=256)
    pin(0, rig.cores.load)
    try:
        traffic.ask_everything()
        unloaded = p99_ms(traffic.at_rate(_UNLOADED * capacity, seconds))
        probe = _Probe(server.port)
        probe.start()
        try:
            answers = traffic.at_rate(TIMES * capacity, seconds)
            ended, unsent = time.perf_counter(), traffic.failures["not sent"]
        finally:
            probe.end.set()
            probe.join()
        late = float(np.quantile(np.asarray(traffic.lateness), 0.99) * 1000)
        after = traffic.at_rate(_UNLOADED * capacity, BACK_S + 2)
    finally:
        traffic.close()
    accepted = [answer for answer in answers if answer.status == 200]
    odd = [answer for answer in answers if answer.status not in (200, 429, 503)]
    mute = [seen for seen in probe.seen if seen[0] not in (200,) and (seen[0] not in (429, 503) or not seen[1])]
    slow = p99_ms(accepted)
    back = max((answer.due - ended for answer in after if answer.status != 200), default=0.0)
    return [
        Gate(
            f"{TIMES:g} x overload: p99 of the accepted / p99 unloaded",
            slow / unloaded,
            f"<= {SLOWER:g}",
            slow <= SLOWER * unloaded,
            f"{slow:.1f} / {unloaded:.1f} ms; {TIMES * capacity:,.0f} requests/s of {CANDIDATES} candidates, "
            f"{len(accepted) / seconds:,.0f}/s accepted, capacity {capacity:,.0f}/s; generator late by {late:.1f} ms",
        ),
        Gate(
            f"{TIMES:g} x overload: neither answered nor refused with 429 or 503",
            len(odd) + unsent,
            "0",
            not odd and not unsent,
            shares(answers),
        ),
        Gate(
            "refusals without Retry-After",
            len(mute),
            "0",
            not mute and any(status != 200 for status, _ in probe.seen),
            f"{len(probe.seen)} probes, {sum(status != 200 for status, _ in probe.seen)} of them refused",
        ),
        Gate("seconds until nobody is refused any more", back, f"<= {BACK_S:g}", back <= BACK_S, shares(after)),
    ]
