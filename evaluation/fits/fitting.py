"""Many trials: each once, over several processes, and never again once it is in the cache."""

import logging
import os
import signal
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, field
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from threading import Thread

from userip.evaluation.fits import cache
from userip.evaluation.fits.cache import Stored
from userip.evaluation.fits.trials import WHOLE_MACHINE, Trial, compute, reason_of, work
from userip.evaluation.results import Failure
from userip.training.data.dataset import Dataset
from userip.training.progress import track

log = logging.getLogger(__name__)
FEW = 8  # fits that are not worth the start of further processes


@dataclass
class Fitting:
    """Where fits go and what went wrong. A failed fit is missing in the report and loses no other."""

    dataset: Dataset
    out: Path
    workers: int
    failures: list[Failure] = field(default_factory=list)

    def stored(self, trial: Trial) -> Stored | None:
        """The predictions of a trial, if they were made."""
        return cache.read(self.out / "cells", trial.key(self.dataset.split_hash))

    def run(self, trials: list[Trial], label: str) -> None:
        """Compute what is not in the cache."""
        different = {trial.key(self.dataset.split_hash): trial for trial in reversed(trials)}
        todo = [trial for trial in reversed(different.values()) if self.stored(trial) is None]
        few = self.workers == 1 or len(todo) < FEW
        alone = [trial for trial in todo if few or trial.experiment.method in WHOLE_MACHINE]
        spread = [trial for trial in todo if trial not in alone]
        outcomes = self._outcomes(alone, spread)
        for trial, why in track(outcomes, len(different), label, done=len(different) - len(todo)):
            if why is not None:
                self.fail(f"{trial.experiment}, seed {trial.seed}", why)

    def fail(self, what: str, why: str) -> None:
        """Record a failure and say so at once."""
        log.warning("failed: %s: %s", what, why)
        self.failures.append(Failure(what, why))

    def skip(self, what: str, why: str) -> None:
        """Record what cannot be done here."""
        log.info("left out: %s: %s", what, why)
        self.failures.append(Failure(what, why, skipped=True))

    def _outcomes(self, alone: list[Trial], spread: list[Trial]) -> Iterable[tuple[Trial, str | None]]:
        """Every trial with what went wrong, one by one in this process and then over several, as they end."""
        for trial in alone:
            try:
                compute(self.dataset, self.out, trial)
            except Exception as error:  # one method's failure must not lose the others
                yield trial, reason_of(error)
            else:
                yield trial, None
        if not spread:
            return
        # Forked processes would inherit the locks of torch's and polars' threads.
        context = get_context("spawn")
        theirs, ours = context.Pipe(duplex=False)
        with (
            theirs,
            ours,
            ProcessPoolExecutor(self.workers, mp_context=context, initializer=end_with, initargs=(theirs,)) as pool,
        ):
            waiting = {pool.submit(work, self.dataset.path, self.out, trial): trial for trial in spread}
            try:
                for future in as_completed(waiting):
                    died = future.exception()
                    yield waiting[future], future.result() if died is None else reason_of(died)
            except BaseException:  # Ctrl-C: the pool by itself would do all that waits before it lets go
                ours.close()
                pool.shutdown(cancel_futures=True)
                raise


def end_with(evaluation: Connection) -> None:
    """End this process when the evaluation closes its end of the pipe, or dies.

    By themselves, the processes of a pool wait for a killed parent for ever. Ctrl-C is the evaluation's to answer.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def watch() -> None:
        evaluation.poll(None)
        os._exit(1)

    Thread(target=watch, daemon=True).start()
