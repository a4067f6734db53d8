"""Every command of the documents runs: the `sh` blocks of a page, one after the other, as a reader types them.

A block after `<!-- not run: why -->` is only read by the shell. Training is made tiny by its environment variables, the
simulated shop by fewer users, and port 8000 is replaced by a free one; nothing else differs from what the reader sees.
"""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import polars as pl
import pytest

from tests.fixtures.process import ROOT, ServeProcess, environment
from tests.training.tiny_run import HASTE, SETTINGS
from userip.loadtests.servers.redis_server import free_port

PAGES = {path.name: path.read_text(encoding="utf-8") for path in [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]}
KEY = "admin-key-of-the-test"
FEWER = ("--users 600 --items 200", "--users 120 --items 100")
TINY = {
    "USERIP_TRAIN_" + name.upper().replace(".", "__"): value
    for name, value in (setting.split("=", 1) for setting in (*SETTINGS, *HASTE))
}


class Block(NamedTuple):
    """One `sh` block; `not_run` says why it is only read."""

    page: str
    code: str
    not_run: str


BLOCKS = [
    Block(page, match.group(2), match.group(1) or "")
    for page, text in sorted(PAGES.items())
    for match in re.finditer(r"(?:^<!-- not run: (.+) -->\n)?^```sh\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)
]


def run_page(page: str, directory: Path, **more: str) -> str:
    """What the blocks of a page print, in one shell that stops at the first failure."""
    code = "".join(block.code for block in BLOCKS if block.page == page and not block.not_run)
    script = f"set -euo pipefail\ntrap 'kill $(jobs -p) 2> /dev/null || true' EXIT\n{code}"
    port = more.pop("port", "8000")
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        # Job control, so that `kill %1` means here what it means to a reader.
        ["bash", "-m", "-c", re.sub(r"(:|--port )8000\b", rf"\g<1>{port}", script.replace(*FEWER))],
        cwd=directory,
        env=environment(TINY | {"PATH": path, "OMP_NUM_THREADS": "1"} | more),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, f"{page}: {done.stdout[-2000:]}\n{done.stderr[-3000:]}"
    return done.stdout


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The directory in which a reader has gone through `Getting started`, and what it printed."""
    directory = tmp_path_factory.mktemp("reader")
    return directory, run_page("getting-started.md", directory, port=str(free_port()))


def test_every_block_is_read_by_the_shell() -> None:
    """No block has a slip that the shell would stumble over; those that are not run say why."""
    assert len(BLOCKS) > 10
    for block in BLOCKS:
        done = subprocess.run(["bash", "-n", "-c", block.code], capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, ""), block


def test_shown_sessions_are_read_by_the_shell() -> None:
    """What stands after a `$` in a session shown with its output is a command that the shell understands.

    Its words are held against the program by tests/project/test_documents.py.
    """
    typed = [
        line
        for text in PAGES.values()
        for session in re.findall(r"^```console\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)
        for line in re.findall(r"^\s*\$ (.+)$", session.replace("\\\n", " "), flags=re.MULTILINE)
    ]
    assert len(typed) > 10
    for line in typed:
        done = subprocess.run(["bash", "-n", "-c", line], capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, ""), line


def test_every_page_with_commands_is_run() -> None:
    """A page whose blocks are run has a test of this file."""
    tested = {"getting-started.md", "bring-your-own-data.md", "operations.md", "runbook.md"}
    assert {block.page for block in BLOCKS if not block.not_run} == tested


@pytest.mark.slow
def test_getting_started_gets_one_started(started: tuple[Path, str]) -> None:
    """The first page ends with answers: scores of a known user, a profile, the stranger's default, and agreement."""
    _, printed = started
    assert '"status":"ready"' in printed
    assert re.findall(r'"profile":"(\w+)"', printed) == ["known", "default"]
    assert set(re.findall(r'"facet":"(\w+)"', printed)) == {"background", "hobby"}
    assert set(re.findall(r'"unknown_items":(\[.*?\])', printed)) == {"[]"}
    assert "agrees    the bank and the directory and the service" in printed


@pytest.mark.slow
def test_own_data_is_prepared_trained_and_folded_in(started: tuple[Path, str], tmp_path: Path) -> None:
    """A table and a catalogue with columns of the reader's own become a release; new users get their codes."""
    shop, _ = started
    rows = pl.read_parquet(shop / "shop/interactions.parquet").filter(pl.col("user_id") < "user-060")
    items = pl.read_parquet(shop / "shop/items.parquet")
    rows.select(
        pl.col("user_id").alias("customer"),
        pl.col("item_id").alias("sku"),
        pl.col("rating").alias("stars"),
        pl.col("timestamp").alias("time"),
    ).write_csv(tmp_path / "clicks.csv")
    items.select(pl.col("item_id").alias("sku"), pl.col("title").alias("name"), "genre", "price").write_csv(
        tmp_path / "catalogue.csv"
    )
    some = rows.filter(pl.col("user_id") == rows["user_id"][0]).with_columns(user_id=pl.lit("somebody new"))
    some.select("user_id", "item_id", "label", "rating", "timestamp").write_csv(tmp_path / "new.csv")
    printed = run_page("bring-your-own-data.md", tmp_path)
    metrics = re.search(r"^\{.*?^\}", printed, flags=re.MULTILINE | re.DOTALL)
    assert metrics is not None
    assert set(json.loads(metrics.group())) == {"valid", "test"}


@pytest.mark.slow
def test_operators_commands_work_on_a_running_service(started: tuple[Path, str]) -> None:
    """Operations and runbook, on the bank, the release and a service of `Getting started`."""
    directory, _ = started
    bank, release = f"lmdb://{directory}/bank", directory / "run/release"
    log = directory / "operations.log"
    with ServeProcess(release, bank, log, env={"USERIP_ADMIN_KEY": KEY}) as service:
        where = {"BANK": bank, "RELEASE": "run/release", "SERVICE": service.url}
        printed = run_page("runbook.md", directory, **where)
        assert '"status":"ready"' in printed
        printed = run_page("operations.md", directory, USERIP_ADMIN_KEY=KEY, **where)
        assert '"before"' in printed
        assert "agrees    " in printed
