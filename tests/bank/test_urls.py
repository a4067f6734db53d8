"""Bank URLs: what they mean, what is refused, and that passwords show nowhere."""

from pathlib import Path

import pytest

from userip.bank import open_bank, open_reader
from userip.bank.backends import BACKENDS
from userip.bank.backends.lmdb.url import LmdbUrl
from userip.bank.backends.lmdb.url import parse_url as parse_lmdb
from userip.bank.backends.redis.url import parse_url as parse_redis
from userip.bank.errors import BankUrlError
from userip.bank.opening import backend_of
from userip.bank.redaction import redact

SECRET = "s3cr3t"


@pytest.mark.parametrize("scheme", BACKENDS)
def test_every_scheme_leads_to_its_backend(scheme: str) -> None:
    """Whatever the case; what opens it is in the folder that `BACKENDS` names, and what is mistyped is redacted."""
    reader = open_reader(f"{scheme.upper()}://{'h' if 'redis' in scheme else '/x'}")
    assert type(reader).__module__.startswith(f"userip.bank.backends.{BACKENDS[scheme]}.")
    assert backend_of(f"{scheme}://x") == BACKENDS[scheme]
    assert redact(f"{scheme}:/:{SECRET}@h") == f"{scheme}:/:***@h"


def test_lmdb_urls_name_a_directory() -> None:
    """Absolute paths, paths below the working directory, and the first size of the map."""
    assert parse_lmdb("lmdb:///var/my%20bank") == LmdbUrl(path=Path("/var/my bank"))
    assert parse_lmdb("lmdb://./here/bank?map_mb=2") == LmdbUrl(path=Path("here/bank"), map_mb=2)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("redis://example.org", {"host": "example.org"}),
        ("redis://example.org:7000/3", {"host": "example.org", "port": 7000, "db": 3}),
        ("redis://example.org?db=3", {"host": "example.org", "db": 3}),
        ("redis://[::1]:7000", {"host": "::1", "port": 7000}),
        ("redis://ann@example.org", {"host": "example.org", "username": "ann"}),
        ("rediss://example.org?verify=none", {"host": "example.org", "tls": True, "verify": "none"}),
        ("unix:///run/redis.sock?db=2", {"socket": "/run/redis.sock", "db": 2}),
        ("redis+cluster://example.org", {"host": "example.org", "cluster": True}),
        ("rediss+cluster://example.org:1", {"host": "example.org", "port": 1, "cluster": True, "tls": True}),
    ],
)
def test_redis_urls_name_a_server(url: str, expected: dict[str, object]) -> None:
    """Server, socket or cluster, with database number and TLS."""
    parsed = parse_redis(url)
    assert parsed.model_dump(exclude_defaults=True) == {k: v for k, v in expected.items() if v is not None}


@pytest.mark.parametrize(
    "url",
    [
        "redis://ann:p%40ss%2F@h",
        "redis://h?username=ann&password=p%40ss%2F",
        "unix://ann:p%40ss%2F@/run/redis.sock",
        "redis://ann@h?password_env=BANK_PASSWORD",
        "redis://ann@h?password_file=FILE",
    ],
)
def test_user_and_password(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A login may stand in the URL, in its query, or its password in the environment or a file."""
    monkeypatch.setenv("BANK_PASSWORD", "p@ss/")
    (tmp_path / "password").write_text("p@ss/\n")
    parsed = parse_redis(url.replace("FILE", str(tmp_path / "password")))
    assert parsed.username == "ann"
    assert parsed.password is not None
    assert parsed.password.get_secret_value() == "p@ss/"


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("nonsense", "unknown scheme"),
        (f"postgres://ann:{SECRET}@h/x", "unknown scheme"),
        (f"redis://:{SECRET}@h:99999", "cannot be read"),
        (f"redis://:{SECRET}@h:port", "cannot be read"),
        (f"redis://:{SECRET}@h/x", "db"),
        (f"redis://:{SECRET}@h/-1", "db"),
        (f"redis://:{SECRET}@h?timeout=3", "unknown setting 'timeout'"),
        (f"redis://:{SECRET}@h?password=x", "password is given twice"),
        (f"redis://h/1?db=1&password={SECRET}", "db is given twice"),
        (f"redis://h?ca=x&password={SECRET}", "unknown setting 'ca'"),
        (f"rediss://:{SECRET}@h?ca=/no/such/file", "ca: Path"),
        (f"rediss://:{SECRET}@h?verify=maybe", "verify"),
        (f"redis://:{SECRET}@/1", "no host"),
        (f"redis+cluster://:{SECRET}@h/2", "no numbered databases"),
        (f"unix://:{SECRET}@", "no socket"),
        (f"redis://h?password_env=NOT_SET_ANYWHERE&password={SECRET}", "NOT_SET_ANYWHERE is not set"),
        (f"redis://h?password_file=/no/such&username={SECRET[:0]}", "password_file: /no/such: No such file"),
        (f"redis://:{SECRET}@h?password_file=/dev/null", "password is given twice"),
        ("lmdb://", "no directory"),
        ("lmdb://host/path", "lmdb:///absolute/path"),
        ("lmdb:///x?map_mb=0", "map_mb"),
        ("lmdb:///x?size=1", "unknown setting 'size'"),
    ],
)
def test_what_is_wrong_is_said_in_one_line_without_the_password(url: str, words: str) -> None:
    """A bad URL is a usage error that names the part, and no error shows a password."""
    with pytest.raises(BankUrlError) as caught:
        open_bank(url)
    message = str(caught.value)
    assert words in message
    assert SECRET not in message
    assert "\n" not in message
    assert caught.value.exit_code == 2


MISTYPED = [
    f"rediss:/:{SECRET}@127.0.0.1",
    f"redis//:{SECRET}@h",
    f"redis:{SECRET}@h",
    f":{SECRET}@h",
    f"ann:{SECRET}@h/://",
    f"redis://u:top?{SECRET}@h",
    f"redis://u:top?x={SECRET}@h",
    f"redis://u:top?{SECRET}=@h",
    f"redis://u:top#{SECRET}@h",
    f"redis://u:top/{SECRET}@h",
    f"redis://top@{SECRET}:x@h/x",
    f"redis+cluster://u/{SECRET}@h",
    f"redis://ann:{SECRET}",
    f"unix:///ann:{SECRET}@/run/redis.sock",
    f"lmdb://ann:{SECRET}@h/x",
    f"redis://h?pasword={SECRET}",
    f"redis://h?password=top&secret={SECRET}",
    f"redis://h?password=top&{SECRET}",
    f"redis://h?db=1;password={SECRET}",
    f"redis://h?db=x#password={SECRET}",
    f"redis://h?timeout=1#{SECRET}",
]


@pytest.mark.parametrize("url", MISTYPED)
def test_a_mistyped_url_shows_no_password(url: str) -> None:
    """Wherever a slip puts the password (scheme, path, port, query, setting), the error is one line without it."""
    with pytest.raises(BankUrlError) as caught:
        open_bank(url)
    assert SECRET not in str(caught.value)
    assert "***" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "url", [f"redis://ann:{SECRET}@h:1", f"unix://ann:{SECRET}@/s", f"redis://h?password={SECRET}"]
)
def test_passwords_show_nowhere(url: str) -> None:
    """Neither a redacted URL nor the repr of what it opens holds the password."""
    shown = [
        redact(url),
        repr(parse_redis(url)),
        str(parse_redis(url)),
        repr(open_bank(url)),
        repr(open_reader(url)),
    ]
    assert not [text for text in shown if SECRET in text]
    assert "***" in redact(url)


def test_redact_leaves_urls_without_a_secret_alone() -> None:
    """What is shown is what was given, but for the password."""
    for url in (
        *(
            "lmdb:///x",
            "lmdb:///home/ann@work/bank?map_mb=2",
            "lmdb://./bank",
            "unix:///run/redis.sock?db=2",
            "nonsense",
        ),
        *("redis://h:1/2?verify=ca", "redis://ann@h", "redis://[::1]:7000", "rediss://h?password_env=PW&ca=/x/ca.pem"),
    ):
        assert redact(url) == url
