"""All of training, on simulated users whose profiles are known: no leak, resumable, repeatable, and right."""

import json
import logging
import signal
import subprocess
import time
from pathlib import Path
from typing import Final

import numpy as np
import polars as pl
import pytest
from sklearn.metrics import adjusted_rand_score, roc_auc_score

from tests.fixtures.runs import Run, copy_steps
from tests.training.tiny_run import (
    HASTE,
    ROUNDS,
    SETTINGS,
    contents,
    easy_set,
    finish,
    flags,
    start,
    tiny_config,
    train,
)
from userip.training.config import load_config
from userip.training.crossfit.folds import fold_of_rows
from userip.training.data.dataset import INTERACTIONS, PLANTED, Dataset
from userip.training.data.storage import write_dataset
from userip.training.recommender.codes import CodeTable
from userip.training.recommender.config import CodesKind, RecommenderConfig
from userip.training.recommender.fit import fit_recommender
from userip.training.run import STEPS

KINDS: Final[tuple[CodesKind, CodesKind]] = ("profile", "constant")


def _scrambled(dataset: Dataset, out: Path, *, parts: tuple[str, ...]) -> Dataset:
    """The same data set with every row of `parts` randomised: other labels, items, users, ratings and times.

    It keeps the split hash, which only names the split: artifacts record it, so it would differ by definition.
    """
    rows = pl.read_parquet(dataset.path / INTERACTIONS)
    draw = np.random.default_rng(99)
    hit = rows["split"].is_in(parts).to_numpy()
    assert hit.any()
    users = [f"user-{n}" for n in range(1000)] + rows["user_id"].unique().sort().to_list()
    items = dataset.items["item_id"].to_list()

    def drawn(values: list[str] | list[bool] | list[float] | list[int], name: str) -> pl.Expr:
        column = pl.Series(name, [values[k] for k in draw.integers(len(values), size=rows.height)], rows.schema[name])
        return pl.when(pl.Series(hit)).then(column).otherwise(pl.col(name)).alias(name)

    changed = rows.with_columns(
        drawn(users, "user_id"),
        drawn(items, "item_id"),
        drawn([True, False], "label"),
        drawn([1.0, 5.0], "rating"),
        drawn(list(range(10_000)), "timestamp"),
    )
    assert not changed.equals(rows)
    return write_dataset(out, dataset.info, changed, pl.read_parquet(dataset.path / "items.parquet"))


def _profiles(run: Path) -> dict[str, bytes]:
    """Language model, tokenizer, z, codebooks and codes: all but the times in step.json."""
    found = {f"{step}/{name}": data for step in ("language", "infer", "quantize")
             for name, data in contents(run / step, "step.json").items()}  # fmt: skip
    for name in ("language/model.safetensors", "language/tokenizer.json", "infer/z.npy", "quantize/codes.parquet"):
        assert name in found
    return found


@pytest.mark.parametrize("split", ["random", "users"])
def test_no_valid_or_test_row_reaches_profiles(split: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    """LEAK: with every valid and test row randomised, language model, z, codebooks and codes are byte-identical."""
    before: Run = request.getfixturevalue("easy" if split == "random" else "held_out")
    config = tiny_config(tmp_path, *(() if split == "random" else (*HASTE, *ROUNDS)))
    scrambled = _scrambled(before.dataset, tmp_path / "scrambled", parts=("valid", "test"))
    after = train(scrambled, tmp_path / "again", config)
    assert _profiles(after) == _profiles(before.path)


def test_train_rows_do_reach_profiles(tmp_path: Path) -> None:
    """The leak test can fail: with the train rows randomised, the language model is another one."""
    config = tiny_config(tmp_path, *HASTE)
    dataset = easy_set(tmp_path / "data", users=60)
    scrambled = _scrambled(dataset, tmp_path / "scrambled", parts=("train",))
    runs = [train(data, tmp_path / name, config, ["language"]) for name, data in (("a", dataset), ("b", scrambled))]
    first, second = (contents(run / "language") for run in runs)
    assert first["model.safetensors"] != second["model.safetensors"]


def test_the_planted_profiles_are_found(easy: Run) -> None:
    """PLANTED: codes of the hobby facet and of the background facet agree with the truth, each with ARI >= .8.

    And neither facet says what the other is for.
    """
    truth = pl.read_parquet(easy.dataset.path / PLANTED).rename(
        {"hobby": "true_hobby", "background": "true_background"}
    )
    codes = pl.read_parquet(easy.path / "quantize" / "codes.parquet").filter(pl.col("fold") == -1)
    both = codes.join(truth, on="user_id")
    assert both.height == truth.height

    def ari(true: str, found: str) -> float:
        return float(adjusted_rand_score(both[f"true_{true}"], both[found]))

    assert ari("hobby", "hobby") >= 0.8
    assert ari("background", "background") >= 0.8
    assert abs(ari("hobby", "background")) < 0.1
    assert abs(ari("background", "hobby")) < 0.1


def test_planted_profiles_beat_random_codes(easy: Run) -> None:
    """Where profiles drive ratings, inferred codes have a higher test AUC than random and constant ones."""
    codes = CodeTable.read(easy.path / "quantize", easy.dataset.split_hash)
    test = easy.dataset.final_eval()
    kinds: tuple[CodesKind, ...] = ("profile", "random", "constant")
    auc = {}
    for kind in kinds:
        settings = RecommenderConfig(codes=kind, user_field=False)
        scores = [fit_recommender(easy.dataset, codes, settings, seed).predict(test) for seed in range(3)]
        auc[kind] = np.mean([roc_auc_score(test["label"], score) for score in scores])
    print(f"planted: test AUC {auc}")
    assert auc["profile"] > max(auc["random"], auc["constant"]) + 0.02


@pytest.fixture(scope="module")
def null_runs(tmp_path_factory: pytest.TempPathFactory) -> list[Run]:
    """Three simulations in which no user differs from another, and their profiles."""
    made = []
    for seed in (1, 2, 3):
        directory = tmp_path_factory.mktemp(f"null-{seed}")
        dataset = easy_set(directory / "data", effect=0.0, seed=seed)
        made.append(Run(dataset, train(dataset, directory / "run", tiny_config(directory, *HASTE))))
    return made


def test_without_any_effect_codes_gain_nothing(null_runs: list[Run]) -> None:
    """NULL: where no user differs from another, inferred codes and constant ones have the same test AUC.

    Constant codes are what to compare with: two more fields, whatever they hold, move the AUC by themselves (see
    docs/method.md#controls). Mean of three data sets of three seeds, whose standard error over data sets is .0013;
    codes of the planted tastes add over .02 there.
    """
    gains = []
    for dataset, path in null_runs:
        codes = CodeTable.read(path / "quantize", dataset.split_hash)
        test = dataset.final_eval()
        auc = {
            kind: [
                roc_auc_score(
                    test["label"],
                    fit_recommender(dataset, codes, RecommenderConfig(codes=kind), seed).predict(test),
                )
                for seed in range(3)
            ]
            for kind in KINDS
        }
        gains.append(np.mean(auc["profile"]) - np.mean(auc["constant"]))
    print(f"null: AUC with codes minus AUC with constant ones: {np.round(gains, 4)}")
    assert abs(np.mean(gains)) < 0.004


def test_without_any_effect_a_code_tells_only_of_rows_it_has_seen(null_runs: list[Run]) -> None:
    """NULL, of train rows: cross-fitted codes know nothing of a row's label; the test sees it where they do.

    Chi-square of the label's residual (its item's rate taken off) between codes, over all facets and data sets. Codes
    of the whole history hold each row's own label, and it shows: trained on these, a recommender would believe them.
    """
    total, freedom = {"cross-fitted": 0.0, "in-sample": 0.0}, 0
    for dataset, path in null_runs:
        codes = CodeTable.read(path / "quantize", dataset.split_hash)
        rows = dataset.rows("train")
        label = rows["label"].to_numpy().astype(np.float64)
        residual = label - rows.select(pl.col("label").mean().over("item_id"))["label"].to_numpy()
        kinds = {
            "cross-fitted": codes.rows_of(rows["user_id"], fold_of_rows(rows, codes.folds, codes.fold_seed)),
            "in-sample": codes.rows_of(rows["user_id"]),
        }
        for kind, found in kinds.items():
            for facet in range(len(codes.sizes)):
                groups = [residual[found[:, facet] == code] for code in np.unique(found[:, facet])]
                total[kind] += sum(len(group) * group.mean() ** 2 for group in groups) / residual.var()
        freedom += sum(size - 1 for size in codes.sizes.values())
    print(f"null: chi-square {total} at {freedom} degrees of freedom")
    error = np.sqrt(2 * freedom)  # the standard error of such a chi-square around its degrees of freedom
    assert abs(total["cross-fitted"] - freedom) < 3 * error
    assert total["in-sample"] - freedom > 3 * error


def test_a_collapsed_codebook_is_told_loudly(easy: Run, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A start known to collapse (docs/method.md#collapse) is a warning in the log, and marked in both JSON files."""
    run = tmp_path / "run"
    copy_steps(easy.path, run, "language", "infer")
    config = tiny_config(
        tmp_path, "quantize.start=uniform", "quantize.metric=plain", "quantize.em_rounds=0", "quantize.surrogate=false"
    )
    with caplog.at_level(logging.WARNING):
        train(easy.dataset, run, config, ["quantize", "fit"])
    for file, key in (("quantize/quantize.json", "facets"), ("fit/metrics.json", "codebooks")):
        books = json.loads((run / file).read_bytes())[key]
        assert any(book["collapsed"] for book in books)
        assert all(book["collapsed"] == (book["perplexity"] < 0.5 * book["size"]) for book in books)
    assert any(record.getMessage().startswith("WARNING: codebook ") for record in caplog.records)


@pytest.mark.slow
@pytest.mark.parametrize("preset", ["paper", "released"])
def test_every_preset_trains(preset: str, tmp_path: Path) -> None:
    """From data set to release: everybody has a code of every facet, within the preset's codebooks, and an AUC."""
    dataset = easy_set(tmp_path / "data", users=60)
    small = [setting for setting in (*SETTINGS, *HASTE) if setting.startswith("language.")]
    config = load_config(preset, settings=(*small, "infer.steps=2", "fit.epochs=2"), environment={})
    run = train(dataset, tmp_path / "run", config, list(STEPS))
    codes = pl.read_parquet(run / "quantize" / "codes.parquet")
    assert set(codes.filter(pl.col("fold") == -1)["user_id"]) == set(dataset.rows("train")["user_id"])
    assert codes["fold"].n_unique() == 1 + config.infer.folds
    for facet in config.facets:
        assert codes[facet.name].to_numpy().max() < facet.size
    metrics = json.loads((run / "release" / "metrics.json").read_bytes())
    assert 0.4 < metrics["test"]["auc"] < 1.0


def test_a_killed_infer_continues_to_the_same_bytes(easy: Run, tmp_path: Path) -> None:
    """RESUME: `userip infer`, killed with SIGKILL early and late among its batches, ends as an unbroken run does."""
    run = tmp_path / "run"
    copy_steps(easy.path, run, "language")
    command: tuple[str | Path, ...] = ("infer", "--dataset", easy.dataset.path, "--out", run, *flags(tmp_path))
    marks = run / "infer.partial" / "z.done"
    batches = len((easy.path / "infer" / "z.done").read_bytes())
    assert batches >= 12
    done = 0
    for after in (1, batches // 2):
        done = _kill_after(start(*command, cwd=tmp_path), marks, after)
        assert not (run / "infer").exists()
    _, said = finish(start(*command, cwd=tmp_path))
    assert "infer: done in" in said
    assert done >= batches // 2
    assert contents(run / "infer", "step.json") == contents(easy.path / "infer", "step.json")


@pytest.mark.slow
def test_a_killed_quantize_continues_to_the_same_bytes(easy: Run, tmp_path: Path) -> None:
    """RESUME: `userip quantize`, killed within the E step of its second round, ends as one that ran through."""
    whole, run = tmp_path / "whole", tmp_path / "run"
    for place in (whole, run):
        copy_steps(easy.path, place, "language", "infer")

    def command(place: Path) -> tuple[str | Path, ...]:
        return ("quantize", "--dataset", easy.dataset.path, "--out", place, *flags(tmp_path, *ROUNDS))

    finish(start(*command(whole), cwd=tmp_path))
    marks = run / "quantize.partial" / "z-2.done"
    batches = len((easy.path / "infer" / "z.done").read_bytes())
    for after in (0, batches // 3):
        _kill_after(start(*command(run), cwd=tmp_path), marks, after)
        assert (run / "quantize.partial" / "round-1.safetensors").is_file()
        assert not (run / "quantize").exists()
    finish(start(*command(run), cwd=tmp_path))
    assert contents(run / "quantize", "step.json") == contents(whole / "quantize", "step.json")


def test_the_same_command_twice_gives_the_same_bytes(easy: Run, tmp_path: Path) -> None:
    """`userip train` as processes in two places, and the steps in this process: one seed, the same bytes."""
    here = [tmp_path / name for name in ("a", "b")]
    config = flags(tmp_path, *HASTE)
    running = [start("train", "--dataset", easy.dataset.path, "--out", run, *config, cwd=tmp_path) for run in here]
    said = [finish(process)[0] for process in running]
    assert said[0].splitlines()[:-1] == said[1].splitlines()[:-1]  # the last line names the directory
    assert [line.split()[1] for line in said[0].splitlines()[:3]] == ["GAUC", "logloss", "AUC"]
    for step in ("language", "infer", "quantize", "fit"):
        assert contents(here[0] / step, "step.json") == contents(here[1] / step, "step.json")
    manifests = [json.loads((run / "release" / "manifest.json").read_bytes()) for run in here]
    assert manifests[0]["release"] == manifests[1]["release"]
    assert manifests[0]["files"] == manifests[1]["files"]
    train(easy.dataset, tmp_path / "c", tiny_config(tmp_path, *HASTE))
    assert _profiles(tmp_path / "c") == _profiles(here[0])


def _kill_after(process: subprocess.Popen[str], marks: Path, batches: int) -> int:
    """SIGKILL as soon as `marks` exists and more than `batches` batches are marked. Returns how many were."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and process.poll() is None:
        done = sum(marks.read_bytes()) if marks.is_file() else -1
        if done >= batches:
            process.send_signal(signal.SIGKILL)
            process.communicate()
            assert process.returncode == -signal.SIGKILL
            return sum(marks.read_bytes())
        time.sleep(0.001)
    process.kill()
    raise AssertionError(f"it ended before it could be killed: {process.communicate()[1]}")
