"""A process that holds a release as a worker of the service does, for `loadtests.scale.release` to look at.

It writes one line of JSON on stdout when it has loaded and touched every row of every table, and ends when its
stdin does.
"""

import json
import sys
import time
from pathlib import Path
from typing import Final

import numpy as np

from userip.loadtests.servers.cores import status_mb
from userip.release.manifest import read_manifest
from userip.scoring.releases.loaded_release import Release, load_release
from userip.scoring.scorer import Task
from userip.service.worker import settle_memory  # which imports the whole service, as a worker does

_PIECE: Final = 1000


def main() -> None:
    """Load the release directory of the first argument; copies of its tables are in the second."""
    directory = Path(sys.argv[1])
    before = status_mb("VmRSS")
    started = time.perf_counter()
    read_manifest(directory)
    hashed = time.perf_counter()
    release = load_release(directory, Path(sys.argv[2]))
    loaded = time.perf_counter()
    release.scorer.warm_up(_PIECE)
    settle_memory()
    after = status_mb("VmRSS")
    touch(release)
    figures = {
        "hash_s": hashed - started,
        "load_s": loaded - hashed,
        "imports_mb": before,
        "loaded_mb": after,
        "release": release.name,
    }
    print(json.dumps(figures), flush=True)
    sys.stdin.read()


def touch(release: Release) -> None:
    """Score every item once, with every user: the mapped pages become resident."""
    shape = release.scorer.shape
    users = np.random.default_rng(0).permutation(shape.user or 1)
    nothing = [0] * len(shape.slots)
    for start in range(0, max(shape.items, len(users)), _PIECE):
        items = np.arange(start, start + _PIECE) % shape.items
        release.scorer.run([Task(items[:1], user, nothing, ()) for user in users[start : start + _PIECE].tolist()])
        release.scorer.run([Task(items, 0, nothing, ())])


if __name__ == "__main__":
    main()
