"""Any order of operations: a bank and a model of it, step by step, over both backends."""

import asyncio
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from userip.bank import Bank, Record, open_bank, open_reader
from userip.bank.errors import PublishError, UnknownReleaseError
from userip.bank.protocol import Lookup
from userip.bank.release_records import ReleaseRecords
from userip.loadtests.servers.redis_server import RedisServer

RELEASES = st.sampled_from(["a", "b", "c"])
USER_IDS = [f"u{number}" for number in range(12)]


class BankHistory(RuleBasedStateMachine):
    """A bank beside plain dictionaries that say what it must hold."""

    bank: Bank
    url: str

    def __init__(self) -> None:
        super().__init__()
        self.records: dict[str, dict[str, Record]] = {}
        self.history: list[str] = []

    @rule(release=RELEASES, users=st.sets(st.sampled_from(USER_IDS)), code=st.integers(0, 65535))
    def publish(self, release: str, users: set[str], code: int) -> None:
        """Write or replace a release, unless it is active."""
        ids = sorted(users)
        rows, codes = np.arange(len(ids), dtype=np.uint32), np.full((len(ids), 1), code, np.uint16)
        if self.history[:1] == [release]:
            with pytest.raises(PublishError):
                self.bank.publish(release, ReleaseRecords(ids, rows, codes))
            return
        self.bank.publish(release, ReleaseRecords(ids, rows, codes))
        self.records[release] = {user_id: Record(row, (code,)) for row, user_id in enumerate(ids)}

    @rule(release=RELEASES)
    def activate(self, release: str) -> None:
        """Move the pointer to a complete release."""
        if release not in self.records:
            with pytest.raises(UnknownReleaseError):
                self.bank.activate(release)
            return
        self.bank.activate(release)
        if self.history[:1] != [release]:
            self.history = [release, *(name for name in self.history if name != release)]

    @rule()
    def rollback(self) -> None:
        """Move it back."""
        if len(self.history) < 2:
            with pytest.raises(UnknownReleaseError):
                self.bank.rollback()
            return
        del self.history[0]
        assert self.bank.rollback() == self.history[0]

    @rule(keep=st.integers(0, 2))
    def prune(self, keep: int) -> None:
        """Delete what nothing points to."""
        kept = self.history[: keep + 1]
        doomed = sorted(name for name in self.records if kept and name not in kept)
        assert sorted(self.bank.prune(keep, dry_run=True)) == doomed
        assert sorted(self.bank.prune(keep)) == doomed
        self.history = [name for name in self.history if name not in doomed]
        for name in doomed:
            del self.records[name]

    @rule(release=RELEASES, users=st.sets(st.sampled_from(USER_IDS)), code=st.integers(0, 65535))
    def upsert(self, release: str, users: set[str], code: int) -> None:
        """Add and change users."""
        changed = {user_id: Record(9, (code,)) for user_id in users}
        if release not in self.records:
            with pytest.raises(UnknownReleaseError):
                self.bank.upsert(release, changed)
            return
        self.bank.upsert(release, changed)
        self.records[release] |= changed

    @rule(user=st.sampled_from(USER_IDS))
    def forget(self, user: str) -> None:
        """Delete a user from every release."""
        held = [name for name, records in sorted(self.records.items()) if records.pop(user, None) is not None]
        assert self.bank.forget(user) == held

    @invariant()
    def holds_what_it_should(self) -> None:
        """Pointer, releases, counts and every record are those of the model."""
        assert self.bank.active() == next(iter(self.history), None)
        infos = {info.name: info for info in self.bank.releases()}
        assert {name: info.users for name, info in infos.items()} == {
            name: len(records) for name, records in self.records.items()
        }
        assert [name for name, info in infos.items() if info.active] == self.history[:1]
        assert [name for name, info in infos.items() if info.previous] == self.history[1:2]
        assert self.bank.stale_stagings() == []
        for name, records in self.records.items():
            assert self.bank.get_many(name, USER_IDS) == [records.get(user_id) for user_id in USER_IDS]
        assert asyncio.run(self.lookups()) == [
            self.records[name].get(user_id) for name in sorted(self.records) for user_id in USER_IDS
        ]

    async def lookups(self) -> list[Lookup]:
        """What a service that starts now would read of every release."""
        reader = open_reader(self.url, deadline_s=10)
        try:
            return [found for name in sorted(self.records) for found in await reader.get_many(name, USER_IDS)]
        finally:
            await reader.close()

    def teardown(self) -> None:
        """Let go of the store."""
        self.bank.close()


STEPS = settings(max_examples=50, stateful_step_count=30, deadline=None)


def test_any_history_on_lmdb(tmp_path: Path) -> None:
    """An LMDB bank agrees with its model after every step."""

    class OnLmdb(BankHistory):
        def __init__(self) -> None:
            super().__init__()
            self.url = f"lmdb://{tempfile.mkdtemp(dir=tmp_path)}/bank"
            self.bank = open_bank(self.url)

    run_state_machine_as_test(OnLmdb, settings=STEPS)


def test_any_history_on_redis(redis_server: RedisServer) -> None:
    """A Redis bank agrees with its model after every step, and leaves no key that belongs to nothing."""

    class OnRedis(BankHistory):
        def __init__(self) -> None:
            super().__init__()
            with redis_server.client() as client:
                client.flushall()
            self.url = redis_server.url
            self.bank = open_bank(self.url)

        def teardown(self) -> None:
            with redis_server.client() as client:
                releases = {key.split(b":")[2].decode() for key in client.scan_iter() if b"{bank}" not in key}
            assert releases <= set(self.records)
            super().teardown()

    run_state_machine_as_test(OnRedis, settings=STEPS)
