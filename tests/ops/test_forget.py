"""`userip forget`: one person, in a bank and in release directories; and whom a publication leaves out."""

import shutil
from contextlib import closing
from pathlib import Path

import polars as pl
import pytest

from tests.ops.test_commands import output, userip
from tests.ops.test_publish import release  # noqa: F401  (a fixture)
from userip.bank import Record, open_bank
from userip.ops import forget
from userip.ops.publish import publish_release
from userip.release.manifest import read_manifest


def test_a_person_is_forgotten_in_bank_directory_and_kept_history(release: Path, bank_url: str) -> None:  # noqa: F811
    """Said by release and directory, without their id; what is left is sound; twice: exit code 1."""
    pl.DataFrame({"user_id": ["u1", "new"], "item_id": ["a", "b"]}).write_parquet(release.parent / "fold-in.parquet")
    with closing(open_bank(bank_url)) as bank:
        name, users = publish_release(release, bank).release, read_manifest(release).users
    said = output("forget", "u1", "--bank", bank_url, "--release", str(release))
    assert said == f"bank: deleted from {name}\n{release}: deleted\n"
    with closing(open_bank(bank_url)) as bank:
        assert bank.get_many(name, ["u1"]) == [None]
    profiles = pl.read_parquet(release / "profiles.parquet")
    assert "u1" not in profiles["user_id"].to_list()
    assert read_manifest(release).users == profiles.height == users - 1
    assert pl.read_parquet(release.parent / "fold-in.parquet")["user_id"].to_list() == ["new"]
    assert "nothing to do" in output("publish", "--release", str(release), "--bank", bank_url)
    again = userip("forget", "u1", "--bank", bank_url, "--release", str(release))
    assert (again.returncode, again.stdout) == (1, f"bank: no record in any release\n{release}: not in it\n")
    assert "brings them back" in output("forget", "u2", "--bank", bank_url)


def test_what_a_killed_run_began_is_finished(release: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    """Killed between two moves the directory is refused; the next run, for anybody, makes it whole."""

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(forget, "_move_in", lambda writing, _: killed() if writing.exists() else None)
        with pytest.raises(KeyboardInterrupt):
            forget.forget_in_release(release, "u1")
    assert "u1" in pl.read_parquet(release / "profiles.parquet")["user_id"].to_list()
    writing = release.with_name("release.forgetting")
    shutil.move(writing / "profiles.parquet", release / "profiles.parquet")
    assert not forget.forget_in_release(release, "nobody")
    assert "u1" not in pl.read_parquet(release / "profiles.parquet")["user_id"].to_list()
    assert read_manifest(release).users == pl.read_parquet(release / "profiles.parquet").height
    assert not writing.exists()


def test_publish_names_the_users_folded_in(release: Path, bank_url: str) -> None:  # noqa: F811
    """How many, and the command that folds them in again; nothing where there was nobody."""
    with closing(open_bank(bank_url)) as bank:
        name = publish_release(release, bank).release
        slots = read_manifest(release).slots
        bank.upsert(name, {user: Record(0, (0,) * slots) for user in ("new", "newer", "u1")})
    other = release.with_name("other")
    shutil.copytree(release, other)
    manifest = read_manifest(other).model_copy(update={"release": "next-one"})
    (other / "manifest.json").write_text(manifest.model_dump_json())
    said = output("publish", "--release", str(other), "--bank", bank_url)
    assert f"warning: 2 users were folded in since {name} was published" in said
    assert f"--interactions RUN-OF-{name}/fold-in.parquet" in said
    assert "2 users were folded into" not in output("activate", name, "--bank", bank_url)
    assert "2 users were folded into" in output("activate", "next-one", "--bank", bank_url)
