"""More than the service can answer: it goes on answering all it can, soon, and refuses the rest.

closed loop   1 to 256 connections that ask on as soon as they have an answer
open loop     requests at fixed times, at .8, 2, 3 and 10 times the capacity, over a pool of 256 connections: what finds
              none free waits in the pool, as before a backend with such a pool. Latency counts from sending.
"""

import http.client
import threading
import time
from collections.abc import Sequence
from statistics import median
from typing import Final

from userip.loadtests.faults.rig import Answered, FaultRig, Traffic, p99_ms, shares
from userip.loadtests.gates import Gate
from userip.loadtests.servers.cores import pin
from userip.processes import HOST, Server
from userip.service.settings import Settings

CONNECTIONS: Final = (1, 8, 32, 64, 256)
CANDIDATES: Final = 500  # of the open loop: so expensive that the generator can ask for ten times as much
TIMES: Final = (0.8, 2.0, 3.0, 10.0)
POOL: Final = 256
GOODPUT_CLOSED: Final = 0.95  # of the best
GOODPUT_OPEN: Final = 0.85  # of the capacity
ROUNDS: Final = 3
BACK_S: Final = 1.0
_UNLOADED: Final = 0.1  # of the capacity
_BODY: Final = b'{"user_id": "probe", "item_ids": []}'
_TARGET_MS: Final[float] = Settings.model_fields["queue_delay_target_ms"].default


class _Probe(threading.Thread):
    """Asks for a score and for the probe now and then on a connection of its own, until `end`."""

    def __init__(self, port: int) -> None:
        super().__init__()
        self.end = threading.Event()
        self.refused: list[str | None] = []  # Retry-After of each refusal
        self.probes: list[int] = []  # status of each probe
        self._port = port

    def run(self) -> None:
        connection = http.client.HTTPConnection(HOST, self._port, timeout=10)
        while not self.end.wait(0.02):
            try:
                connection.request("GET", "/healthz")
                response = connection.getresponse()
                response.read()
                self.probes.append(response.status)
                connection.request("POST", "/score", _BODY)
                response = connection.getresponse()
                response.read()
                if response.status != 200:
                    self.refused.append(response.getheader("retry-after"))
            except (OSError, http.client.HTTPException):
                self.probes.append(0)
                connection.close()
        connection.close()


def overload(rig: FaultRig, name: str, seconds: float, *settings: str) -> list[Gate]:
    """Closed loops, then open ones, on a service with its default settings but for `settings`; and what is judged.

    The bank is LMDB: on two cores a Redis beside the generator, or beside the service, would be what is measured.
    """
    bank = f"lmdb://{rig.directory / 'overload-bank'}"
    rig.publish(bank)
    server = rig.serve(*settings, bank=bank)
    pin(0, rig.cores.load)
    return [*_closed_loops(rig, name, seconds), *_open_loops(rig, server, name, seconds)]


def _closed_loops(rig: FaultRig, name: str, seconds: float) -> list[Gate]:
    seen: dict[int, list[list[Answered]]] = {connections: [] for connections in CONNECTIONS}
    for _ in range(ROUNDS):  # in turns, so that a slow moment of the machine meets them all
        for connections, rounds in seen.items():
            traffic = rig.traffic(connections=connections)
            try:
                traffic.at_most(seconds / 4)
                rounds.append(traffic.at_most(seconds))
            finally:
                traffic.close()
    goodput, how, needless = {}, [], 0
    for connections, rounds in seen.items():
        good = [[answer for answer in answers if answer.status == 200] for answers in rounds]
        goodput[connections] = median(map(len, good)) / seconds
        refused = sum(map(len, rounds)) - sum(map(len, good))
        p99 = p99_ms([answer for answers in good for answer in answers])
        needless += refused if p99 < _TARGET_MS else 0
        share = refused / sum(map(len, rounds))
        how.append(f"{connections}: {goodput[connections]:,.0f}/s, p99 {p99:.1f} ms, {share:.0%} refused")
    several = [figure for connections, figure in goodput.items() if connections > 1]  # one alone waits for itself
    least, text = min(several) / max(several), "; ".join(how)
    return [
        Gate(f"{name}: least goodput of 8 to 256 connections / best", least, ">= 0.95", least >= GOODPUT_CLOSED, text),
        Gate(f"{name}: refused while p99 is below the target of {_TARGET_MS:g} ms", needless, "0", not needless, text),
    ]


def _open_loops(rig: FaultRig, server: Server, name: str, seconds: float) -> list[Gate]:
    few = rig.traffic(CANDIDATES, connections=8)
    try:
        few.at_most(seconds / 4)
        capacity = len(few.at_most(seconds)) / seconds
    finally:
        few.close()
    traffic = rig.traffic(CANDIDATES, connections=POOL)
    try:
        traffic.ask_everything()
        unloaded = p99_ms(_sent(traffic.at_rate(_UNLOADED * capacity, seconds)))
        return [
            gate
            for times in TIMES
            for gate in _one_load(traffic, server, f"{name}, {times:g} x", times, capacity, unloaded, seconds)
        ]
    finally:
        traffic.close()


def _one_load(
    traffic: Traffic, server: Server, name: str, times: float, capacity: float, unloaded: float, seconds: float
) -> list[Gate]:
    probe = _Probe(server.port)
    probe.start()
    try:
        answers = traffic.at_rate(times * capacity, seconds, patient=False)
        ended = time.perf_counter()
    finally:
        probe.end.set()
        probe.join()
    after = traffic.at_rate(_UNLOADED * capacity, BACK_S + 2)
    accepted = [answer for answer in answers if answer.status == 200]
    odd = sum(answer.status not in (200, 429, 503) for answer in answers)
    goodput, wanted = len(accepted) / seconds / capacity, GOODPUT_OPEN * min(times, 1.0)
    slow, bound = p99_ms(_sent(accepted)), _TARGET_MS + 2 * unloaded
    back = max((answer.due - ended for answer in after if answer.status != 200), default=0.0)
    mute = sum(seconds is None for seconds in probe.refused)
    blind = sum(status != 200 for status in probe.probes)
    how = f"capacity {capacity:,.0f}/s; {shares(answers)}"
    return [
        Gate(f"{name}: goodput / capacity", goodput, f">= {wanted:.2f}", goodput >= wanted, how),
        Gate(f"{name}: p99 of the accepted, ms", slow, f"<= {bound:.1f}", slow <= bound, f"unloaded {unloaded:.1f} ms"),
        Gate(f"{name}: neither answered nor refused", odd, "0", not odd, shares(answers)),
        Gate(f"{name}: refusals without Retry-After", mute, "0", not mute, f"of {len(probe.refused)}"),
        Gate(f"{name}: probes not answered", blind, "0", not blind, f"of {len(probe.probes)}"),
        Gate(f"{name}: seconds until nobody is refused", back, f"<= {BACK_S:g}", back <= BACK_S, shares(after)),
    ]


def _sent(answers: Sequence[Answered]) -> list[Answered]:
    """The answers with their latency from sending."""
    return [answer._replace(latency=answer.latency - answer.waited) for answer in answers]
