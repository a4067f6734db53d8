"""The training commands in process: what they print, and what they read of the environment."""

import logging
from contextlib import closing
from pathlib import Path

import pytest
import redis

from tests.training.toy import toy_dataset
from userip.bank import Record, open_bank
from userip.ops.commands import publish
from userip.release.manifest import read_manifest
from userip.training.errors import ConfigError
from userip.training.export.config import ExportConfig
from userip.training.export.release import Origin, write_release
from userip.training.recommender.config import RecommenderConfig
from userip.training.recommender.fit import fit_recommender
from userip.training.run import set_up_logging


@pytest.fixture
def release(tmp_path: Path) -> Path:
    """A release without codes."""
    dataset = toy_dataset(tmp_path / "set", users=30, items=20, per_user=10)
    fitted = fit_recommender(dataset, None, RecommenderConfig(codes="none", batch=128, epochs=1), seed=0)
    write_release(tmp_path / "release", fitted, Origin("dcn", {}, ""), ExportConfig())
    return tmp_path / "release"


def test_publish_says_what_is_active_and_shows_no_password(
    release: Path, redis_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The line that names the next command holds the bank's URL without its password; a second time is done already."""
    url = redis_url.replace("redis://", "redis://default:s3cr3t@")  # any password does: the server asks for none
    publish(release=release, bank=url)
    name = read_manifest(release).release
    said = capsys.readouterr().out
    assert said.startswith(
        f"{name}: 30 users active\nnext: userip serve --release {release} --bank redis://default:***@"
    )
    assert "s3cr3t" not in said
    publish(release=release, bank=url)
    assert capsys.readouterr().out == f"{name}: already active, nothing to do\n"


def test_publish_writes_what_the_bank_has_lost(
    release: Path, redis_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Records of the active release that were evicted come back, and the line says so; what nobody holds is named."""
    publish(release=release, bank=redis_url)
    name = read_manifest(release).release
    with closing(open_bank(redis_url)) as bank:
        bank.upsert(name, {f"new-{i}": Record(0, ()) for i in range(3)})
        with closing(redis.Redis.from_url(redis_url)) as client:
            client.delete(*client.scan_iter(f"userip:1:{name}:*"))
        assert bank.count_missing(name) == 33
        capsys.readouterr()
        publish(release=release, bank=redis_url)
        assert capsys.readouterr().out == (
            f"{name}: already active; 33 records were lost, 30 written again; "
            "3 were of users folded in since: run `userip fold-in` for them again\n"
        )
        assert bank.count_missing(name) == 0
        with closing(redis.Redis.from_url(redis_url)) as client:
            client.delete(f"userip:1:{{bank}}:release:{name}")
        publish(release=release, bank=redis_url)
        assert capsys.readouterr().out.startswith(f"{name}: 30 users active\n")
        assert bank.releases()[0].users == 30


def test_publish_without_activation_advises_it(
    release: Path, redis_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """What was published beside the active release is activated next, and served then."""
    publish(release=release, bank=redis_url, activate=False)
    name = read_manifest(release).release
    said = capsys.readouterr().out
    assert said == f"{name}: 30 users published, not active\nnext: userip activate --bank {redis_url} {name}\n"


@pytest.mark.parametrize(("value", "level"), [("warning", 30), ("DEBUG", 10), ("", 20), (None, 20)])
def test_the_log_level_is_read_as_the_service_reads_it(
    value: str | None, level: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """USERIP_LOG_LEVEL in lower or upper case; empty or not there, it is info."""
    root = logging.getLogger()
    before = root.level
    monkeypatch.setattr(root, "handlers", [])  # pytest's own, which `force` would close
    monkeypatch.delenv("USERIP_LOG_LEVEL", raising=False)
    if value is not None:
        monkeypatch.setenv("USERIP_LOG_LEVEL", value)
    try:
        set_up_logging()
        assert root.level == level
    finally:
        root.setLevel(before)


def test_a_log_level_that_there_is_not_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Exit code 2, the variable and the levels, instead of a traceback of `logging`."""
    monkeypatch.setenv("USERIP_LOG_LEVEL", "loud")
    with pytest.raises(ConfigError, match=r"USERIP_LOG_LEVEL=loud: no such level; there are debug, info") as error:
        set_up_logging()
    assert error.value.exit_code == 2
