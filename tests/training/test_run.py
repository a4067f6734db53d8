"""A run directory: what is redone, what is kept, what is refused."""

import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.training.toy import toy_dataset
from userip.training import run as run_module
from userip.training.config import TrainConfig, load_config
from userip.training.data.dataset import Dataset
from userip.training.errors import ConfigError, DataError, SplitMismatchError
from userip.training.run import STEPS, fingerprint, read_step, read_whole, run_step

ORDER = list(STEPS)
CONFIG = TrainConfig()


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """A data set; what is in it does not matter here."""
    return toy_dataset(tmp_path_factory.mktemp("run") / "set", users=12, items=15, per_user=5)


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """All five steps replaced by ones that write a file; the list names those that ran."""
    ran: list[str] = []
    for step, whole in STEPS.items():
        module = ModuleType(f"probe_{step}")

        def work(dataset: Dataset, run: Path, out: Path, *sections: object, step: str = step) -> dict[str, Any]:
            ran.append(step)
            (out / "result").write_text(step)
            return {"made": step}

        setattr(module, f"run_{step}", work)
        monkeypatch.setitem(sys.modules, module.__name__, module)
        monkeypatch.setitem(run_module.STEPS, step, whole._replace(work=f"{module.__name__}:run_{step}"))
    return ran


def _all(dataset: Dataset, run: Path, config: TrainConfig = CONFIG, seed: int = 0) -> None:
    for step in ORDER:
        run_step(step, dataset, run, config, seed)


@pytest.mark.parametrize(
    ("setting", "first"),
    [
        ("language.steps=7", "language"),
        ("history.longest=9", "language"),
        ('facets=[{name="taste", phrase="x", filler="attributes"}]', "language"),
        ("infer.steps=7", "infer"),
        ("quantize.em_rounds=2", "quantize"),
        (
            'facets=[{name="hobby", phrase="This user\'s hobby is", filler="attributes", size=4}, '
            '{name="background", phrase=" The user\'s background is", filler="generosity", size=3}]',
            "quantize",
        ),
        ("fit.user_field=false", "fit"),
        ("export.words=3", "export"),
    ],
)
def test_a_setting_redoes_its_step_and_those_after_it(dataset: Dataset, setting: str, first: str) -> None:
    """The fingerprints of the steps before stay, so they are kept. Codebook sizes do not retrain the model."""
    other = load_config(settings=[setting], environment={})
    changed = [step for step in ORDER if fingerprint(step, dataset, CONFIG, 0) != fingerprint(step, dataset, other, 0)]
    assert changed == ORDER[ORDER.index(first) :]


def test_seed_and_split_redo_everything(dataset: Dataset, tmp_path: Path) -> None:
    """Another seed, and the same data split in another way, leave nothing as it was."""
    other = toy_dataset(tmp_path / "set", users=12, items=15, per_user=5, noise=True)
    assert other.split_hash != dataset.split_hash
    for step in ORDER:
        mark = fingerprint(step, dataset, CONFIG, 0)
        assert mark != fingerprint(step, dataset, CONFIG, 1)
        assert mark != fingerprint(step, other, CONFIG, 0)


def test_runs_of_several_seeds_may_share_a_language_model(dataset: Dataset) -> None:
    """With the model's own seed named, the language step is one and the same; what follows depends on both seeds."""
    shared = {step: [fingerprint(step, dataset, CONFIG, seed, 0) for seed in (0, 1)] for step in ORDER}
    assert [step for step in ORDER if shared[step][0] == shared[step][1]] == ["language"]
    for step in ORDER:
        assert shared[step][0] == fingerprint(step, dataset, CONFIG, 0)
        assert shared[step][1] not in (fingerprint(step, dataset, CONFIG, 1), fingerprint(step, dataset, CONFIG, 1, 2))


def test_finished_steps_are_kept(dataset: Dataset, tmp_path: Path, calls: list[str]) -> None:
    """The same command again does nothing and gives the same figures."""
    _all(dataset, tmp_path)
    assert calls == ORDER
    assert run_step("fit", dataset, tmp_path, CONFIG, 0) == {"made": "fit"}
    _all(dataset, tmp_path)
    assert calls == ORDER
    assert not list(tmp_path.glob("*.partial")) + list(tmp_path.glob("*.old"))


def test_a_changed_setting_redoes_what_follows_alone(dataset: Dataset, tmp_path: Path, calls: list[str]) -> None:
    """After a change of `quantize`, three of five steps run."""
    _all(dataset, tmp_path)
    calls.clear()
    _all(dataset, tmp_path, load_config(settings=["quantize.em_rounds=3"], environment={}))
    assert calls == ["quantize", "fit", "export"]


def test_the_record_says_what_a_step_was_made_from(dataset: Dataset, tmp_path: Path, calls: list[str]) -> None:
    """step.json holds seed, split, time and memory; a release's record stands beside it, not among its files."""
    _all(dataset, tmp_path, seed=5)
    record = read_step(tmp_path / "infer")
    assert record is not None
    assert (record["seed"], record["split_hash"]) == (5, dataset.split_hash)
    assert record["seconds"] >= 0
    assert record["peak_memory_mb"] > 0
    assert [file.name for file in (tmp_path / "release").iterdir()] == ["result"]
    assert read_step(tmp_path / "release") is not None
    assert load_config(file=tmp_path / "config.toml", environment={}) == CONFIG


def test_a_release_is_whole_while_no_other_command_is_under_way(
    dataset: Dataset, tmp_path: Path, calls: list[str]
) -> None:
    """A step that was redone with other settings does not belong to the release any more, until the last is redone."""
    with pytest.raises(DataError, match=r"language: not found"):
        read_whole(tmp_path, CONFIG)
    _all(dataset, tmp_path)
    assert list(read_whole(tmp_path, CONFIG)) == ORDER
    other = load_config(settings=["infer.steps=7"], environment={})
    for step in ("language", "infer"):
        run_step(step, dataset, tmp_path, other, 0)
    with pytest.raises(ConfigError, match=r"quantize: was made before .*infer, which another"):
        read_whole(tmp_path, CONFIG)
    _all(dataset, tmp_path, other)
    assert read_whole(tmp_path, CONFIG)["infer"]["before"] == fingerprint("language", dataset, other, 0)


def test_an_interrupted_step_finds_its_files_again(
    dataset: Dataset, tmp_path: Path, calls: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a step left in its .partial directory is there when the same command runs again, and never before done."""
    seen: list[list[str]] = []

    def work(dataset: Dataset, run: Path, out: Path, *sections: object) -> dict[str, Any]:
        seen.append(sorted(file.name for file in out.iterdir() if file.name != "started"))
        (out / f"part-{len(seen)}").touch()
        if len(seen) < 3:
            raise KeyboardInterrupt
        return {}

    monkeypatch.setattr(sys.modules["probe_language"], "run_language", work)
    other = load_config(settings=["language.steps=9"], environment={})
    for config in (CONFIG, CONFIG, other):
        if len(seen) < 2:
            with pytest.raises(KeyboardInterrupt):
                run_step("language", dataset, tmp_path, config, 0)
            assert read_step(tmp_path / "language") is None
        else:
            run_step("language", dataset, tmp_path, config, 0)
    # The second attempt saw the first one's file; the third, of other settings, began from nothing.
    assert seen == [[], ["part-1"], []]
    assert sorted(file.name for file in (tmp_path / "language").iterdir()) == ["part-3", "step.json"]


def test_a_failed_step_leaves_the_finished_one(
    dataset: Dataset, tmp_path: Path, calls: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With other settings a step fails: the result of the first settings is still there, whole."""
    run_step("language", dataset, tmp_path, CONFIG, 0)

    def fail(*given: object) -> dict[str, Any]:
        raise DataError("no")

    monkeypatch.setattr(sys.modules["probe_language"], "run_language", fail)
    with pytest.raises(DataError):
        run_step("language", dataset, tmp_path, load_config(settings=["language.steps=9"], environment={}), 0)
    record = read_step(tmp_path / "language")
    assert record is not None
    assert record["fingerprint"] == fingerprint("language", dataset, CONFIG, 0)
    assert (tmp_path / "language" / "result").read_text() == "language"


def test_a_missing_step_is_named(dataset: Dataset, tmp_path: Path, calls: list[str]) -> None:
    """The error says which directory is missing and which command makes it."""
    with pytest.raises(DataError, match=r"language: not found; run `userip train-lm` first") as error:
        run_step("infer", dataset, tmp_path, CONFIG, 0)
    assert error.value.exit_code == 2
    assert str(tmp_path / "language") in str(error.value)
    assert calls == []


def test_a_step_of_other_settings_is_not_built_upon(dataset: Dataset, tmp_path: Path, calls: list[str]) -> None:
    """`userip infer` after `userip train-lm` with other settings is refused, naming directory and remedy."""
    run_step("language", dataset, tmp_path, CONFIG, 0)
    for config, seed in ((load_config(settings=["language.steps=9"], environment={}), 0), (CONFIG, 1)):
        with pytest.raises(ConfigError, match=r"language: was made with other settings or another seed; run"):
            run_step("infer", dataset, tmp_path, config, seed)
    assert calls == ["language"]


def test_a_step_of_another_split_is_not_built_upon(dataset: Dataset, tmp_path: Path, calls: list[str]) -> None:
    """Two splits are never mixed."""
    run_step("language", dataset, tmp_path / "run", CONFIG, 0)
    other = toy_dataset(tmp_path / "set", users=12, items=15, per_user=5, noise=True)
    with pytest.raises(SplitMismatchError, match="was made from another split"):
        run_step("infer", other, tmp_path / "run", CONFIG, 0)


def test_another_run_at_work_is_refused(dataset: Dataset, tmp_path: Path, calls: list[str]) -> None:
    """While a process works in the directory, a second one is turned away; when it is dead, it is not."""
    program = (
        "import fcntl, sys, time; file = open(sys.argv[1], 'a'); fcntl.flock(file, fcntl.LOCK_EX);"
        "print('locked', flush=True); time.sleep(60)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, tmp_path / ".lock"], stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "locked\n"
        with pytest.raises(ConfigError, match="another userip command is at work there") as error:
            run_step("language", dataset, tmp_path, CONFIG, 0)
        assert str(tmp_path) in str(error.value)
        assert calls == []
        other.kill()
    run_step("language", dataset, tmp_path, CONFIG, 0)
    assert calls == ["language"]


def test_a_run_directory_that_cannot_be_one_is_named(dataset: Dataset, tmp_path: Path, calls: list[str]) -> None:
    """A file, a place below a file, the data set itself: exit code 2, and nothing is written."""
    (tmp_path / "file").touch()
    for run in (tmp_path / "file", tmp_path / "file" / "run"):
        with pytest.raises(ConfigError, match=r"--out .*file.*: cannot be written \(") as error:
            run_step("language", dataset, run, CONFIG, 0)
        assert error.value.exit_code == 2
    before = sorted(dataset.path.iterdir())
    with pytest.raises(ConfigError, match=r"--out .*: is a data set; a run needs a directory of its own"):
        run_step("language", dataset, dataset.path, CONFIG, 0)
    assert sorted(dataset.path.iterdir()) == before
    assert calls == []


def test_a_record_that_is_broken_counts_for_nothing(dataset: Dataset, tmp_path: Path, calls: list[str]) -> None:
    """A step directory without a readable record is not finished and is done again."""
    run_step("language", dataset, tmp_path, CONFIG, 0)
    (tmp_path / "language" / "step.json").write_text("{")
    assert read_step(tmp_path / "language") is None
    run_step("language", dataset, tmp_path, CONFIG, 0)
    assert calls == ["language", "language"]
