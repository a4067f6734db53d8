"""`userip demo`: from nothing to a running service that answers, explained.

OUT/data        a simulated data set        OUT/run        the training run, its release in OUT/run/release
OUT/bank        an LMDB feature bank        OUT/serve.log  what the service logged
OUT/facets.toml where the hobby's words come from
Every part is a command that a person could have typed, and is shown as one. What is done stays: a second demo in the
same place starts with the service.
"""

import io
import json
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Annotated, Final

import typer

from userip.demo.service import DemoService, port_to_use
from userip.demo.story import tell
from userip.files import write_text
from userip.processes import interrupt_on_signals
from userip.training.errors import DataError

FILES: Final = frozenset({"demo.json", "facets.toml", "data", "run", "bank", "serve.log"})


def demo(
    out: Annotated[Path, typer.Option(help="The directory of the demo. Finished steps in it are kept.")] = Path("demo"),
    users: Annotated[int, typer.Option(min=50, help="Simulated users.")] = 600,
    items: Annotated[int, typer.Option(min=40, help="Items of the simulated shop.")] = 200,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port of the service; 0 takes a free one.")] = 0,
    seed: Annotated[int, typer.Option(min=0, help="Same seed, same numbers.")] = 0,
    setting: Annotated[list[str] | None, typer.Option("--set", help="A setting of training; repeatable.")] = None,
) -> None:
    """Simulate a shop, train, publish and serve; ask the service a few things and explain its answers."""
    _refuse_foreign(out)
    port = port_to_use(port)  # before minutes of work, not after them
    started = time.monotonic()
    stay = sys.stdin.isatty() and sys.stdout.isatty()
    print(f"Everything happens in {out}/ and on this machine. The first time takes about a minute on two cores.")
    _train(out, users, items, seed, setting or [])
    _heading(5, "Serve. From here on there is no language model and no PyTorch: one bank read, one small graph.")
    release, bank = out / "run" / "release", _bank(out)
    _command("serve", f"--release {release} --bank {bank} --port {port}")
    interrupt_on_signals()
    with DemoService(release, bank, port, out / "serve.log") as service:
        tell(service, out / "data")
        print(f"\nDone in {time.monotonic() - started:.0f} s.")
        if stay:
            _stay(service, out)
    print(f"The service is stopped. Start it again: userip serve --release {release} --bank {bank}")


def _train(out: Path, users: int, items: int, seed: int, settings: list[str]) -> None:
    from userip.ops.commands import publish
    from userip.training.commands import train
    from userip.training.data.commands import simulate

    data, run, facets = out / "data", out / "run", out / "facets.toml"
    _heading(1, f"Simulate a shop: {users} users, each with a planted hobby and background, {items} items.")
    _command("simulate", f"--out {data} --users {users} --items {items} --seed {seed}")
    made_from = {"users": users, "items": items, "seed": seed}
    if _made_from(out) == made_from and (data / "dataset.json").is_file():
        print("   done before, kept")
    else:
        with _indented():
            simulate(out=data, users=users, items=items, seed=seed)
        (out / "demo.json").write_text(json.dumps(made_from), encoding="utf-8")
    _heading(
        2,
        "Train. A small language model learns to read histories; every user's profile is inferred as soft prompts;\n"
        "   codebooks turn profiles into small integers; a recommender learns to use them; all is exported.\n"
        f"   {facets} says which words describe a hobby: genres. Prices belong to the other facet.",
    )
    write_text(facets, _facets())
    given = "".join(f" --set {setting}" for setting in settings)
    _command("train", f"--dataset {data} --out {run} --preset quick --config {facets} --seed {seed}{given}")
    with _indented():
        train(dataset=data, out=run, preset="quick", config=facets, setting=settings, seed=seed)
    _heading(3, "What a release is: a directory, and every file in it has its hash in the manifest.")
    for file in sorted((run / "release").iterdir()):
        print(f"   {file.stat().st_size:>9,} bytes  {file.name}")
    _heading(4, "Publish the profiles into a feature bank; here LMDB, a folder. Redis would be another URL.")
    _command("publish", f"--release {run / 'release'} --bank {_bank(out)}")
    with _indented():
        publish(release=run / "release", bank=_bank(out))


def _facets() -> str:
    """The default facets as TOML, but that the hobby's words are genres alone."""
    import tomli_w

    from userip.training.language.config import FACETS

    hobby, *others = FACETS
    facets = (hobby.model_copy(update={"columns": ("genre",)}), *others)
    return tomli_w.dumps({"facets": [facet.model_dump(mode="json", exclude_defaults=True) for facet in facets]})


def _stay(service: DemoService, out: Path) -> None:
    try:  # from the first line on: who reads "Ctrl-C stops it" may be quicker than the next statement
        print(f"\nThe service stays up at {service.url} (log: {out / 'serve.log'}). Try in another terminal:")
        for line in service.examples:
            print(f"   {line}")
        print(f"   open {service.url}/docs\nCtrl-C stops it.", flush=True)
        service.wait()
    except KeyboardInterrupt:
        print()


def _refuse_foreign(out: Path) -> None:
    if out.exists() and not out.is_dir():
        raise DataError(f"--out {out}: is a file; give a directory")
    foreign = sorted(set(os.listdir(out)) - FILES) if out.is_dir() else []
    if foreign:
        raise DataError(f"--out {out}: has files of something else ({foreign[0]}); give another directory")
    out.mkdir(parents=True, exist_ok=True)


def _made_from(out: Path) -> dict[str, int] | None:
    try:
        content: dict[str, int] = json.loads((out / "demo.json").read_bytes())
    except (FileNotFoundError, json.JSONDecodeError):
        return None
    return content


def _bank(out: Path) -> str:
    return f"lmdb://{(out / 'bank').resolve()}"


@contextmanager
def _indented() -> Iterator[None]:
    """Print what a command prints under its line, without the command's advice on what to do next."""
    said = io.StringIO()
    try:
        with redirect_stdout(said):
            yield
    finally:
        for line in said.getvalue().splitlines():
            if not line.startswith("next: "):
                print(f"   {line}", flush=True)


def _heading(number: int, text: str) -> None:
    print(f"\n{number}. {text}", flush=True)


def _command(name: str, arguments: str) -> None:
    print(f"   $ userip {name} {arguments}", flush=True)
