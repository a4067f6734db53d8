"""The key file: what it may say, what a new key looks like, and that no value of it shows."""

import hashlib
import os
import tomllib
from pathlib import Path

import pytest

from userip import commands
from userip.service.auth.api_keys import Key, Keyring, admin_key, new_key, parse_keys, read_keys
from userip.service.errors import StartError

SHA = "ab" * 32


def line(name: str = "shop", sha256: str = SHA, scopes: str = '["score"]', more: str = "") -> str:
    return f'{name} = {{ sha256 = "{sha256}", scopes = {scopes}{more} }}\n'


def test_new_key_and_its_line_belong_together() -> None:
    """The line holds the id, the scopes and the SHA-256 of the key, and the key itself is not in it."""
    key, text = new_key("shop.eu", ["score", "profile", "score"])
    entry = tomllib.loads(text)["shop.eu"]
    assert entry == {"sha256": hashlib.sha256(key.encode()).hexdigest(), "scopes": ["score", "profile"]}
    assert key not in text
    (read,) = parse_keys(text, "here")
    assert Keyring([read]).find(key.encode()) is read


def test_command_prints_the_key_once_and_its_line(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """`userip create-key` gives the key and a line that a key file takes; a scope that is none is refused."""
    commands.main(["create-key", "shop", "--scopes", "score,profile"])
    key, text = [line for line in capsys.readouterr().out.splitlines() if line][1::2]
    (tmp_path / "keys.toml").write_text(text + "\n")
    (read,) = read_keys(tmp_path / "keys.toml")
    assert (read.id, read.scopes) == ("shop", frozenset({"score", "profile"}))
    assert Keyring([read]).find(key.encode()) is read
    with pytest.raises(SystemExit, match="2"):
        commands.main(["create-key", "shop", "--scopes", "scores"])


def test_former_name_of_the_command_still_works(capsys: pytest.CaptureFixture[str]) -> None:
    """`new-key` does what `create-key` does, and says so in one line."""
    commands.main(["new-key", "shop"])
    said = capsys.readouterr()
    assert "line for the key file" in said.out
    assert said.err == "userip: warning: `userip new-key` is now `userip create-key`; the former name goes soon\n"


def test_new_keys_are_random_and_long() -> None:
    """No two keys are alike, and each has 256 random bits behind its prefix."""
    made = [new_key("k", ["score"])[0] for _ in range(200)]
    assert len(set(made)) == 200
    assert {len(key) for key in made} == {len("userip_") + 43}  # 32 bytes in base64 without padding
    assert all(key.startswith("userip_") for key in made)


@pytest.mark.parametrize(("name", "scopes"), [("", ["score"]), ("a b", ["score"]), ("a", ["all"]), ("a", [])])
def test_new_key_refuses_what_the_service_would_refuse(name: str, scopes: list[str]) -> None:
    """A name or a scope that the key file cannot hold is an error with exit code 2."""
    with pytest.raises(StartError, match="new key: key") as caught:
        new_key(name, scopes)
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("shop = ", "not TOML"),
        ("", "holds no key"),
        (line(sha256="AB" * 32), "key 'shop', sha256"),
        (line(sha256="userip_secret"), "key 'shop', sha256"),
        (line(scopes="[]"), "key 'shop', scopes"),
        (line(scopes='["write"]'), "'score', 'profile' or 'admin'"),
        (line(more=", rate = 0"), "key 'shop', rate"),
        (line(more=', key = "userip_secret"'), "key 'shop', key"),
        (line('"a b"'), "key 'a b'"),
        (line("one") + line("two"), "one and two are the same key"),
        ('shop = "userip_secret"', "key 'shop'"),
    ],
)
def test_what_is_wrong_is_named_in_one_line_without_values(tmp_path: Path, text: str, words: str) -> None:
    """File, key and field are named with the fix; what stands there is not repeated: it may be a key."""
    file = tmp_path / "keys.toml"
    file.write_text(text)
    with pytest.raises(StartError) as caught:
        read_keys(file)
    message = str(caught.value)
    assert message.startswith(f"{file}: ")
    assert words in message
    assert "`userip create-key`" in message
    assert "\n" not in message
    assert "userip_secret" not in message
    assert SHA not in message


def test_missing_or_unreadable_file_is_named(tmp_path: Path) -> None:
    """A file that is not there, or is no text, is an error that names it."""
    with pytest.raises(StartError, match=r"none\.toml: No such file"):
        read_keys(tmp_path / "none.toml")
    (tmp_path / "k").write_bytes(b"\xff")
    with pytest.raises(StartError, match="not UTF-8"):
        read_keys(tmp_path / "k")


def test_pipe_in_place_of_the_file_is_not_waited_for(tmp_path: Path) -> None:
    """Nobody writes into it, and a worker that waited would answer nobody."""
    os.mkfifo(tmp_path / "keys.toml")
    with pytest.raises(StartError, match=r"keys\.toml: not a regular file"):
        read_keys(tmp_path / "keys.toml")


def test_keyring_finds_whole_keys_only() -> None:
    """Of several keys the right one is found; a part, more, or another case of it is nobody's."""
    keys = {name: new_key(name, ["score"]) for name in ("a", "b", "c")}
    ring = Keyring([parse_keys(text, "")[0] for _, text in keys.values()])
    for name, (key, _) in keys.items():
        found = ring.find(key.encode())
        assert found is not None
        assert found.id == name
        for other in (key[:-1], key + "x", key.upper(), "", key.removeprefix("userip_")):
            assert ring.find(other.encode()) is None


def test_hash_that_agrees_in_its_index_only_is_nobody() -> None:
    """The entry is found by 8 bytes of the hash; all 32 are compared."""
    right = hashlib.sha256(b"given").digest()
    assert Keyring([Key("a", right[:8] + bytes(24), frozenset({"score"}))]).find(b"given") is None
    assert Keyring([Key("a", right, frozenset({"score"}))]).find(b"given") is not None


def test_admin_key_opens_everything() -> None:
    """The setting stands for one key with every scope."""
    key = admin_key("kéy")
    assert Keyring([key]).find("kéy".encode()) is key
    assert key.scopes == {"score", "profile", "admin"}
