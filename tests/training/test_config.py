"""Where a setting comes from, and what is said when it cannot be."""

from pathlib import Path

import pytest

from userip.training.config import TrainConfig, load_config, write_config
from userip.training.errors import ConfigError
from userip.training.methods import DEFAULT, METHODS
from userip.training.methods.userip.method import own
from userip.training.quantize.kmeans.config import KMeansConfig

PRESETS = METHODS[DEFAULT].presets


def test_defaults_are_the_preset_default(caplog: pytest.LogCaptureFixture) -> None:
    """Without anything said they are the defaults of every section; `practical`, of before, says its new name."""
    assert load_config(environment={}) == TrainConfig()
    assert not caplog.messages
    assert load_config("practical", environment={}) == TrainConfig()
    assert caplog.messages == ["--preset practical is now --preset default; the old name goes with the next release"]


def test_a_setting_of_before_still_counts(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """`quantize.rounds` is em_rounds, from every source, with one line that names the source; flags still win."""
    (tmp_path / "run.toml").write_text("[quantize]\nrounds = 2\nsteps = 3\n")
    config = load_config(file=tmp_path / "run.toml", environment={})
    assert (config.quantize.em_rounds, config.quantize.steps) == (2, 3)
    assert [line.split(";")[0] for line in caplog.messages] == [
        f"--config {tmp_path / 'run.toml'}: quantize.rounds is now quantize.em_rounds"
    ]
    assert load_config("paper", settings=["quantize.rounds=0"], environment={}).quantize.em_rounds == 0


@pytest.mark.parametrize("preset", PRESETS)
def test_presets_are_valid_and_survive_a_file(preset: str, tmp_path: Path) -> None:
    """A resolved configuration written as TOML is read back as the same, whatever the preset."""
    config = load_config(preset, environment={})
    write_config(config, tmp_path / "config.toml")
    assert load_config(file=tmp_path / "config.toml", environment={}) == config
    assert [file.name for file in tmp_path.iterdir()] == ["config.toml"]


def test_the_paper_s_numbers() -> None:
    """Preset `paper`: hobby 4, background 3, all weights .001, means over dimensions, no cross-fitting."""
    paper = load_config("paper", environment={})
    assert [(facet.name, facet.size) for facet in paper.facets] == [("hobby", 4), ("background", 3)]
    assert (paper.quantize.alpha, paper.quantize.beta, paper.quantize.gamma) == (1e-3, 1e-3, 1e-3)
    assert paper.quantize.reduction == "mean"
    assert paper.infer.folds == 0


def test_the_released_code_has_no_commitment_and_no_surrogate() -> None:
    """Preset `released`: uniform codebooks, moved towards z by .5 MSE alone."""
    released = load_config("released", environment={})
    assert isinstance(released.quantize, KMeansConfig)
    assert (released.quantize.start, released.quantize.beta, released.quantize.surrogate) == ("uniform", 0.0, False)
    assert own(released).start == "random"


def test_flags_win_over_environment_over_file_over_preset(tmp_path: Path) -> None:
    """Each source overrides the one before it, and only what it names."""
    file = tmp_path / "run.toml"
    file.write_text("[infer]\nsteps = 21\nfolds = 3\nlr = 0.3\n")
    environment = {"USERIP_TRAIN_INFER__FOLDS": "4", "USERIP_TRAIN_INFER__LR": "0.4", "USERIP_PORT": "1"}
    infer = own(load_config("quick", file, ["infer.lr=0.5"], environment))
    assert (infer.steps, infer.folds, infer.lr) == (21, 4, 0.5)
    assert infer.shared_steps == own(load_config("quick", environment={})).shared_steps


def test_values_are_toml_or_text() -> None:
    """Numbers, booleans and lists are read as TOML; anything else is text."""
    config = load_config(
        settings=["fit.user_field=false", "fit.mlp=[8, 4]", "infer.priors=[0.5]", "language.path=gpt2"], environment={}
    )
    assert config.fit.user_field is False
    assert config.fit.mlp == (8, 4)
    assert own(config).priors == (0.5,)
    assert config.language.path == "gpt2"


def test_presets_are_not_changed_by_a_run() -> None:
    """Two configurations from one preset do not see each other's settings."""
    load_config("quick", settings=["infer.steps=99", "quantize.em_rounds=7"], environment={})
    assert own(load_config("quick", environment={})).steps != 99
    assert load_config("quick", environment={}).quantize.em_rounds != 7


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (["infer.step=3"], "infer.step: no such setting; there are: folds, "),
        (["inferr.steps=3"], "inferr: no such setting; there are: method, facets, history, "),
        (["infer.steps=many"], "infer.steps: "),
        (["infer.steps=-1"], "infer.steps: "),
        (["fit.dropout=1.0"], "fit.dropout: "),
        (["quantize.update=sgd"], "quantize.update: "),
        (["quantize.kind=pq"], "quantize: kind 'pq' is no quantizer; there are kmeans, residual"),
        (
            ["quantize.kind=residual", "quantize.update=mean"],
            "quantize.update: no such setting; there are: click_",
        ),
        (["quantize.levels=2"], "quantize.levels: no such setting"),
        (["quantize.kind=residual", "quantize.levels=20"], "quantize: 40 codes a user; at most 32"),
        (["infer.steps"], "--set infer.steps: give it as section.key=value"),
        (["facets=[]"], "facets: at least one"),
        (['facets=[{name="a", phrase="x"}, {name="a", phrase="y"}]'], "facets: at least one, each with a name"),
        (["language.width=33"], "language: width=33 has to be a multiple of heads=4"),
        (["infer.folds=1"], "infer.folds: 0 is off, 2 or more cross-fit"),
        (['facets=[{name="a", phrase="x"}]'], "infer.start = 'filler' needs a facet"),
        (["method=counts", "language.layers=7"], "language: method 'counts' has no language model and would ignore it"),
        (
            ["method=counts", "history.polarity=false"],
            "history: method 'counts' has no language model and would ignore",
        ),
    ],
)
def test_a_wrong_setting_is_named(settings: list[str], said: str) -> None:
    """One line that begins with the setting, and says what there is; exit code 2."""
    with pytest.raises(ConfigError) as error:
        load_config(settings=settings, environment={})
    assert str(error.value).startswith(said)
    assert "\n" not in str(error.value)
    assert error.value.exit_code == 2


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("[infer]\nstep = 3\n", "infer.step: no such setting; there are: folds, "),
        ("[inferr]\nsteps = 3\n", "inferr: no such setting"),
        ("quantize = 3\n", "quantize: "),
        ("[infer]\nsteps = 'many'\n", "infer.steps: "),
        ("[language]\nwidth = 33\n", "language: width=33 has to be"),
        ("[[facets]]\nname = 'a'\n", "facets.0.phrase: Field required"),
        ("[[facets]]\nname = 'a'\nphrase = 'x'\nsizes = 3\n", "facets.0.sizes: no such setting"),
    ],
)
def test_a_wrong_setting_of_a_file_is_named_with_the_file(tmp_path: Path, content: str, said: str) -> None:
    """The message begins with --config and the file, then the key."""
    file = tmp_path / "run.toml"
    file.write_text(content)
    with pytest.raises(ConfigError) as error:
        load_config("quick", file, ["fit.dropout=0.1"], {"USERIP_TRAIN_INFER__FOLDS": "4"})
    assert str(error.value).startswith(f"--config {file}: {said}")


def test_the_source_that_won_is_blamed(tmp_path: Path) -> None:
    """A setting that is right in the file and wrong in a flag or variable is no fault of the file."""
    file = tmp_path / "run.toml"
    file.write_text("[infer]\nsteps = 3\n")
    with pytest.raises(ConfigError, match=r"^infer\.steps: "):
        load_config(file=file, settings=["infer.steps=many"], environment={})
    with pytest.raises(ConfigError, match=r"^USERIP_TRAIN_INFER__STEPS: infer\.steps: "):
        load_config(file=file, environment={"USERIP_TRAIN_INFER__STEPS": "many"})


def test_a_wrong_setting_of_the_environment_is_named() -> None:
    """A misspelt variable is refused, not ignored."""
    with pytest.raises(ConfigError, match=r"^USERIP_TRAIN_INFER__STEPZ: infer\.stepz: no such setting"):
        load_config(environment={"USERIP_TRAIN_INFER__STEPZ": "1"})


def test_an_unknown_preset_is_named() -> None:
    """The presets are listed."""
    with pytest.raises(ConfigError, match=r"--preset fast: no such preset; there are default, .*quick"):
        load_config("fast")


def test_a_file_that_is_missing_or_broken_is_named(tmp_path: Path) -> None:
    """The path and, for bad TOML, where it breaks."""
    with pytest.raises(ConfigError, match=r"--config .*none\.toml: not found"):
        load_config(file=tmp_path / "none.toml")
    with pytest.raises(ConfigError, match=r"--config .*: cannot be read \(Is a directory\)"):
        load_config(file=tmp_path)
    (tmp_path / "broken.toml").write_text("[infer\n")
    with pytest.raises(ConfigError, match=r"--config .*broken\.toml: not TOML: .*line 1"):
        load_config(file=tmp_path / "broken.toml")


def test_a_recommender_is_named_or_the_known_ones_are_said() -> None:
    """A name that is none fails before anything is trained; the default leaves no trace in what is written."""
    with pytest.raises(ConfigError, match=r"fit\.recommender: no recommender 'dnc'; there are dcn, dcnv2, .*ffm"):
        load_config(settings=["fit.recommender=dnc"], environment={})
    chosen = load_config(settings=["fit.recommender=pnn"], environment={}).fit
    assert chosen.model_dump()["recommender"] == chosen.recommender == "pnn"
    assert "recommender" not in load_config(environment={}).fit.model_dump(mode="json")
