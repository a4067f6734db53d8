"""Access refused, which is not `does not answer`: bank and reader, one server and a cluster, logins and rights."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.bank.backends.redis.whole_life import EXPECTED, USERS
from tests.fixtures.redis_cluster import make_whole
from userip.bank import Record, open_bank, open_reader
from userip.bank.errors import BankRefusedError
from userip.loadtests.servers.redis_server import RedisServer, free_port

SECRET = "s3cr3t/?#@"
# Logins, and what the error says of them.
NOT_LET_IN = {
    "": "user 'default' with no password may not log in",
    f":{quote(SECRET, safe='')}@": "user 'default' with the password from the URL may not log in",
    f"reader:{quote(SECRET, safe='')}@": "user 'reader' with the password from the URL may not log in",
    "nobody:pw@": "user 'nobody' with the password from the URL may not log in",
}
RIGHTS = {
    "reader": ["+lindex", "+hgetall", "+hget", "+cluster", "+command"],  # all that the service needs
    "half": ["+lindex", "+hgetall", "+cluster", "+command"],
    "script": ["+@all", "-hset"],
}


@pytest.fixture(params=["redis", "redis+cluster"], scope="module")
def guarded(request: pytest.FixtureRequest) -> Iterator[str]:
    """A server or a cluster with release "a", users of RIGHTS and a password; LOGIN stands for who asks."""
    clustered = request.param == "redis+cluster"
    with RedisServer(
        *(("--cluster-enabled", "yes", "--cluster-port", str(free_port())) if clustered else ())
    ) as server:
        if clustered:
            make_whole(server)
        with closing(open_bank(f"{request.param}://127.0.0.1:{server.port}")) as bank:
            USERS.publish(bank, "a")
            bank.activate("a")
        with closing(server.client()) as client:
            for user, commands in RIGHTS.items():
                client.acl_setuser(user, enabled=True, passwords=["+pw"], commands=commands, keys=["userip:*"])
            client.config_set("requirepass", "another")
        yield f"{request.param}://LOGIN127.0.0.1:{server.port}"


def read(url: str) -> object:
    """All users of release "a", as the service's reader finds them."""

    async def ask() -> object:
        reader = open_reader(url, deadline_s=5)
        try:
            assert await reader.active() == "a"
            assert await reader.meta("a")
            return await reader.get_many("a", USERS.ids)
        finally:
            await reader.close()

    return asyncio.run(ask())


@pytest.mark.parametrize("login", NOT_LET_IN)
def test_a_refused_login_names_user_and_fix_and_no_password(guarded: str, login: str) -> None:
    """A wrong or missing password and an unknown user are told apart from silence; the exit code is 2."""
    url = guarded.replace("LOGIN", login)
    with closing(open_bank(url)) as bank:
        attempts: list[Callable[[], object]] = [bank.active, lambda: USERS.publish(bank, "b"), lambda: read(url)]
        for attempt in attempts:
            with pytest.raises(BankRefusedError, match=r"redis .*at 127.*access refused: user ") as caught:
                attempt()
            assert NOT_LET_IN[login] in str(caught.value)
            assert "fix it in the bank URL (--bank or USERIP_BANK_URL)" in str(caught.value)
            assert "s3cr3t" not in f"{caught.value} {caught.value!r}"
            assert caught.value.exit_code == 2


def test_where_the_password_is_from_is_said(guarded: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The variable or the file to fix."""
    monkeypatch.setenv("BANK_PASSWORD", SECRET)
    file = tmp_path / "password"
    file.write_text(SECRET)
    for setting, said in (
        ("password_env=BANK_PASSWORD", "the variable BANK_PASSWORD"),
        (f"password_file={file}", file),
    ):
        url = f"{guarded.replace('LOGIN', 'reader@')}?{setting}"
        with closing(open_bank(url)) as bank, pytest.raises(BankRefusedError, match=f"the password from {said} may"):
            bank.active()


def test_the_service_needs_three_commands(guarded: str) -> None:
    """LINDEX, HGETALL and HGET are enough to read (and what a cluster's client asks); to write is refused."""
    url = guarded.replace("LOGIN", "reader:pw@")
    assert read(url) == EXPECTED
    with closing(open_bank(url)) as bank, pytest.raises(BankRefusedError, match=r"user 'reader' .*lacks a right"):
        USERS.publish(bank, "b")


def test_a_missing_right_is_refused_and_never_an_unknown_user(guarded: str) -> None:
    """HGET refused: every lookup says so, for one user and for many, and shows neither key nor field."""
    with pytest.raises(BankRefusedError, match=r"user 'half' .*lacks a right .*'hget'.*ACL SETUSER") as caught:
        read(guarded.replace("LOGIN", "half:pw@"))
    assert "userip:" not in str(caught.value)


def test_a_right_that_is_missing_inside_of_a_script(guarded: str) -> None:
    """A login that may run scripts, and not what they do."""
    with closing(open_bank(guarded.replace("LOGIN", "script:pw@"))) as bank:
        with pytest.raises(BankRefusedError, match=r"user 'script' .*lacks a right"):
            bank.upsert("a", {"new": Record(0, (1, 2, 3))})
        assert bank.get_many("a", ["new", *USERS.ids]) == [None, *EXPECTED]
