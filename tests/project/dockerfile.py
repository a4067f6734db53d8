"""A reader of Dockerfiles for the tests: stages and their instructions, no engine needed."""

import json
import re
import shutil
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Instruction:
    """One instruction; `words` are the strings of an exec form or JSON list, else the shell words."""

    name: str
    text: str

    @property
    def exec_form(self) -> list[str] | None:
        """The strings of the JSON list that the instruction ends in, None for shell form."""
        match = re.search(r"\[.*\]$", self.text)
        if match is None:
            return None
        strings: list[str] = json.loads(match.group())
        return strings


@dataclass
class Stage:
    """What one FROM begins."""

    name: str
    base: str
    instructions: list[Instruction] = field(default_factory=list)

    def all(self, name: str) -> list[Instruction]:
        """The stage's instructions of that name, in order."""
        return [instruction for instruction in self.instructions if instruction.name == name]

    def last(self, name: str) -> Instruction:
        """The one of that name that holds in the end."""
        return self.all(name)[-1]

    def environment(self) -> dict[str, str]:
        """What the stage's ENV instructions set."""
        pairs = (pair for env in self.all("ENV") for pair in env.text.split())
        return dict(pair.split("=", 1) for pair in pairs)


def read_dockerfile(path: Path) -> dict[str, Stage]:
    """The stages by name, in order. A stage that does not name itself is called by its number."""
    text = re.sub(r"^\s*#.*\n", "", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
    stages: dict[str, Stage] = {}
    stage: Stage | None = None
    for line in text.replace("\\\n", " ").splitlines():
        if not line.strip():
            continue
        name, rest = line.split(maxsplit=1)
        if name == "FROM":
            base, _, alias = rest.partition(" AS ")
            alias = alias.strip() or str(len(stages))
            stage = stages[alias] = Stage(alias, base.strip())
        elif stage is not None:
            stage.instructions.append(Instruction(name, " ".join(rest.split())))
    return stages


def allowlist(root: Path) -> list[str]:
    """What .dockerignore, which begins by holding everything back, lets through: names and patterns."""
    lines = (root / ".dockerignore").read_text(encoding="utf-8").splitlines()
    assert next(line for line in lines if line and not line.startswith("#")) == "*"
    return [line[1:] for line in lines if line.startswith("!")]


def copy_context(root: Path, target: Path) -> None:
    """Copy what an engine is sent, as `COPY . .` does: links stay links."""
    for source in sorted(path for pattern in allowlist(root) for path in root.glob(pattern)):
        place = target / source.relative_to(root)
        place.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, place, symlinks=True, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
        else:
            shutil.copy(source, place)
