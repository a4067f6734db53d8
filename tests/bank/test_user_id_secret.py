"""A bank whose user ids are hidden by a secret: right with it, a clear error without it, nothing to try an id on."""

import asyncio
import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.fixtures.banks import make_users
from userip.bank import Record, open_bank, open_reader
from userip.bank.errors import BankKeyError
from userip.bank.layout import Layout
from userip.bank.user_id_secret import VARIABLE, user_key

SECRET = "correct horse battery staple"
Use = Callable[..., None]


@pytest.fixture
def use(monkeypatch: pytest.MonkeyPatch) -> Use:
    """Set the variables of the key; neither is set before."""

    def change(value: str | None = None, file: Path | None = None) -> None:
        for name, given in ((VARIABLE, value), (f"{VARIABLE}_FILE", file)):
            if given is None:
                monkeypatch.delenv(name, raising=False)
            else:
                monkeypatch.setenv(name, str(given))

    change()
    return change


def published(bank_url: str, release: str = "r") -> None:
    with_users = make_users(300)
    bank = open_bank(bank_url)
    with_users.publish(bank, release)
    bank.activate(release)
    bank.close()


def test_same_secret_reads_what_it_published(bank_url: str, use: Use) -> None:
    """Publish, look up, fold in and read with one secret: every record is its user's."""
    use(SECRET)
    published(bank_url)
    bank = open_bank(bank_url)
    assert bank.get_many("r", ["user-0", "user-299", "nobody"]) == [
        Record(1, (0, 0, 0xFFFF)), Record(300, (299 % 7, 299, 0xFFFF)), None]  # fmt: skip
    bank.upsert("r", {"new": Record(0, (1, 2, 3))})
    assert bank.forget("user-2") == ["r"]
    assert bank.get_many("r", ["user-2", "user-3"]) == [None, Record(4, (3, 3, 0xFFFF))]
    bank.close()

    async def read() -> None:
        reader = open_reader(bank_url, deadline_s=5.0)
        assert await reader.meta("r")
        assert await reader.get_many("r", ["new", "user-1"]) == [Record(0, (1, 2, 3)), Record(2, (1, 1, 0xFFFF))]
        await reader.close()

    asyncio.run(read())


@pytest.mark.parametrize(
    ("other", "words"), [(None, f"set {VARIABLE}"), ("another secret of that length", "is not the key")]
)
def test_missing_or_wrong_secret_is_an_error_and_no_default(
    bank_url: str, use: Use, other: str | None, words: str
) -> None:
    """Whoever has no key or another gets an error that names the variable, never a silent "unknown user"."""
    use(SECRET)
    published(bank_url)
    use(other)
    bank = open_bank(bank_url)
    with pytest.raises(BankKeyError, match=words) as caught:
        bank.get_many("r", ["user-0"])
    assert caught.value.exit_code == 2
    assert SECRET not in str(caught.value)
    with pytest.raises(BankKeyError, match=words):
        bank.upsert("r", {"user-0": Record(0, (1, 2, 3))})
    make_users(1).publish(bank, "another")
    with pytest.raises(BankKeyError, match=f"r: .*{words}"):
        bank.forget("user-0")
    assert bank.get_many("another", ["user-0"]) == [Record(1, (0, 0, 0xFFFF))]  # all releases, or none
    users = {info.name: info.users for info in bank.releases()}  # tools need no key
    assert users == {"r": 300, "another": 1}
    bank.close()

    async def read() -> None:
        reader = open_reader(bank_url, deadline_s=5.0)
        assert await reader.active() == "r"
        meta = await reader.meta("r")
        assert meta is not None
        with pytest.raises(BankKeyError, match=words):
            meta.require_key()
        with pytest.raises(BankKeyError, match=words):
            await reader.get_many("r", ["user-0"])
        await reader.close()

    asyncio.run(read())


def test_releases_without_a_key_stay_readable(bank_url: str, use: Use) -> None:
    """A key is introduced with the next release; the one before, published without, is served until then."""
    published(bank_url, "plain")
    use(SECRET)
    published(bank_url, "keyed")
    bank = open_bank(bank_url)
    for release in ("plain", "keyed"):
        assert bank.get_many(release, ["user-6"]) == [Record(7, (6, 6, 0xFFFF))]
    bank.close()


def test_place_cannot_be_computed_without_the_secret(use: Use) -> None:
    """The place is keyed BLAKE2b of the id, as hashlib computes it; salt and id alone give another one."""
    use(SECRET)
    key = hashlib.blake2b(SECRET.encode(), digest_size=32, person=b"userip user key").digest()
    digest = hashlib.blake2b(b"ann", digest_size=16, salt=(3).to_bytes(16, "little"), key=key).digest()
    expected = int.from_bytes(digest[5:9], "little") * 1000 >> 32, digest[:5], int.from_bytes(digest[9:13], "little")
    layout = Layout(3, 1000, user_key())
    assert layout.locate("ann") == expected
    places, tags = layout.locate_many(["ann", "bob"])
    assert (int(places[0]), int(tags[0])) == (expected[0] << 40 | int.from_bytes(expected[1], "big"), expected[2])
    assert Layout(3, 1000).locate("ann") != expected
    assert key.hex() not in repr(layout)
    assert repr(key) not in repr(layout)


def test_secret_may_lie_in_a_file(tmp_path: Path, use: Use) -> None:
    """As Docker and Kubernetes mount secrets; a line end behind it is none of it, in the variable as in the file."""
    file = tmp_path / "secret"
    file.write_text(SECRET + "\n")
    use(SECRET)
    expected = user_key()
    use(file=file)
    assert user_key() == expected
    use(SECRET + "\n")
    assert user_key() == expected
    assert len(expected) == 32


@pytest.mark.parametrize("content", ["", "short", None])
def test_unusable_secret_is_named(tmp_path: Path, use: Use, content: str | None) -> None:
    """Missing file, empty, blank, or short enough to be guessed: an error, not a bank without a key."""
    file = tmp_path / "secret"
    if content is not None:
        file.write_text(content)
    use(file=file)
    with pytest.raises(BankKeyError, match=VARIABLE):
        user_key()
    use(20 * " ")
    with pytest.raises(BankKeyError, match=VARIABLE):
        user_key()


def test_both_variables_are_too_many(tmp_path: Path, use: Use) -> None:
    """Which one is meant cannot be known."""
    use(SECRET, tmp_path / "secret")
    with pytest.raises(BankKeyError, match="both set"):
        user_key()
