"""Nothing reads a format that runs code: by the syntax tree of every source file, whatever lint is told to ignore."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROOTS = (ROOT / "tests", ROOT / "tools", *(ROOT / "src" / "userip").iterdir())
MODULES = {"pickle", "_pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal", "pickle5"}
CALLS = {"torch.load", "torch.save", "pandas.read_pickle", "pd.read_pickle", "yaml.load", "yaml.unsafe_load"}


def sources() -> Iterator[Path]:
    """Every Python file of the repository."""
    for root in ROOTS:
        yield from [root] if root.suffix == ".py" else sorted(root.resolve().rglob("*.py"))


def faults(source: str) -> list[str]:
    """What a source does that it must not, with its line."""
    found = []
    for node in ast.walk(ast.parse(source)):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        found += [f"{node.lineno}: imports {name}" for name in names if name.split(".")[0] in MODULES]  # type: ignore[attr-defined]
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            switched_on = any(
                word.arg == "allow_pickle" and ast.unparse(word.value) != "False" for word in node.keywords
            )
            if called in CALLS or switched_on:
                found.append(f"{node.lineno}: {called}")
    return found


def test_no_source_unpickles() -> None:
    """No module imports a pickler, and no call switches numpy's pickles on."""
    paths = list(sources())
    assert len(paths) > 200
    found = [f"{path.relative_to(ROOT)}:{fault}" for path in paths for fault in faults(path.read_text("utf-8"))]
    assert found == []


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "import joblib.numpy_pickle as x",
        "from dill import loads",
        "def f():\n    from cloudpickle import dumps",
        "torch.load(path)",
        "np.load(path, allow_pickle=True)",
        "np.load(path, allow_pickle=wanted)",
        "yaml.load(text)",
    ],
)
def test_the_search_finds_what_it_looks_for(source: str) -> None:
    """Each banned form is seen, wherever it stands."""
    assert faults(source)
    assert not faults("import json\nnp.load(path, mmap_mode='r', allow_pickle=False)")
