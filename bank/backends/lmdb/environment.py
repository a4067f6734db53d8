"""One LMDB environment per directory and process, with a map that grows by itself.

LMDB must not be opened twice in one process: a bank and a reader of the same directory share an environment.
"""

import os
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar, cast

import lmdb

from userip.bank.backends.lmdb.files import LEAST_BYTES, allocate_lock_file, missing_bytes
from userip.bank.errors import BankDamagedError, BankError, BankFullError, BankUnavailableError
from userip.bank.layout import LAYOUT_VERSION
from userip.disk import disk_full, is_full

if TYPE_CHECKING:
    Transaction = lmdb.Transaction

T = TypeVar("T")

LAYOUT_KEY: Final = b"m:layout"
_MAX_READERS: Final = 1024  # processes and threads that may read at once
_GROWTH_BYTES: Final = 64 << 20

_open: dict[Path, "LmdbEnvironment"] = {}
_open_lock = threading.Lock()


class LmdbEnvironment:
    """Runs transactions, one at a time per process; opened on first use, read-only until a write."""

    def __init__(self, path: Path, map_mb: int) -> None:
        self.path = path
        self.map_mb = map_mb
        self.users = 0
        self._env: lmdb.Environment | None = None
        self._data = os.path.join(path, "data.mdb")  # as text: it is looked at before every read
        self._seen = (0, 0, 0)  # inode, bytes and time of its last change
        self._writable = False
        self._lock = threading.RLock()

    @classmethod
    def acquire(cls, path: Path, map_mb: int = 64) -> "LmdbEnvironment":
        """The environment of `path` in this process. Give it back with `release`."""
        path = path.absolute().resolve()
        with _open_lock:
            environment = _open.setdefault(path, cls(path, map_mb))
            environment.users += 1
            return environment

    def release(self) -> None:
        """Close the environment when nobody in this process uses it any more."""
        with _open_lock:
            self.users -= 1
            if self.users == 0:
                _open.pop(self.path, None)
                self._close()

    @property
    def where(self) -> str:
        """The store in words, for messages."""
        return f"lmdb at {self.path}"

    def exists(self) -> bool:
        """Whether there is a bank in the directory."""
        return os.path.exists(self._data)

    def blocks_bytes(self) -> int:
        """What the file takes on disk; 0 without one."""
        return os.stat(self._data).st_blocks * 512 if self.exists() else 0

    def read(self, work: "Callable[[Transaction], T]") -> T:
        """Run `work` in a read transaction. Raises BankUnavailableError if there is no bank."""
        with self._lock:
            env = self._opened(write=False)
            try:
                try:
                    with env.begin() as txn:
                        return work(txn)
                except lmdb.MapResizedError:  # another process let the map grow
                    env.set_mapsize(0)
                    with env.begin() as txn:
                        return work(txn)
            except lmdb.Error as error:
                raise BankUnavailableError(f"{self.where}: {error}") from None

    def write(self, work: "Callable[[Transaction], T]") -> T:
        """Run `work` in a write transaction, creating the bank if need be; all of it is stored, or nothing.

        `work` runs again, from the state before it, when the map was too small and had to grow.
        Raises BankFullError when the disk is full.
        """
        with self._lock:
            env = self._opened(write=True)
            while True:
                try:
                    with env.begin(write=True) as txn:
                        done = work(txn)
                    self._stretch()
                    return done
                except lmdb.MapResizedError:
                    env.set_mapsize(0)
                except lmdb.MapFullError:
                    size = env.info()["map_size"]
                    env.set_mapsize(size + max(size, _GROWTH_BYTES))
                except lmdb.Error as error:
                    self._refuse_full(error)
                    raise BankUnavailableError(f"{self.where}: {error}") from None

    def _opened(self, *, write: bool) -> lmdb.Environment:
        if self._env is not None and not self._is_the_same():
            self._close()  # the directory was replaced, by a restored copy for example
        if self._env is not None and (self._writable or not write):
            return self._env
        if not write and not self.exists():
            raise BankUnavailableError(f"{self.where}: no bank found; create it with `userip publish`")
        self._close()
        fresh = not self.exists()
        try:
            if write:
                self.path.mkdir(parents=True, exist_ok=True)
            if not fresh:
                self._look(os.stat(self._data), empty=write)
            allocate_lock_file(os.path.join(self.path, "lock.mdb"), _MAX_READERS)
            self._env = lmdb.open(
                str(self.path), map_size=self.map_mb << 20, readonly=not write, max_readers=_MAX_READERS
            )
            self._env.reader_check()  # forget readers that were killed: they would keep old pages alive
            if not write:
                self._env.set_mapsize(0)  # as large as the writers made it
            self._writable = write
            self._look(os.stat(self._data), empty=False)
            self._check_layout(self._env)
        except (lmdb.Error, OSError) as error:
            self._close()
            with suppress(OSError):
                if fresh and os.stat(self._data).st_size < LEAST_BYTES:
                    os.unlink(self._data)  # half of a first page is no bank, and would be taken for a broken one
            self._refuse_full(error)
            raise BankUnavailableError(f"{self.where}: {error}") from None
        except BankError:
            self._close()
            raise
        return self._env

    def _check_layout(self, env: lmdb.Environment) -> None:
        with env.begin() as txn:
            found = txn.get(LAYOUT_KEY)
        if found is not None and found != b"%d" % LAYOUT_VERSION:
            raise BankError(
                f"{self.where}: key layout {found.decode(errors='replace')}, this version reads "
                f"{LAYOUT_VERSION}; publish into a new directory"
            )

    def _is_the_same(self) -> bool:
        """Whether the file is the one that was opened. Raises BankDamagedError for one that was cut short since."""
        try:
            found = os.stat(self._data)
        except OSError:
            return False
        if found.st_ino == self._seen[0] and (found.st_size, found.st_mtime_ns) != self._seen[1:]:
            try:
                self._look(found, empty=False)
            except BankError:
                self._close()
                raise
        return found.st_ino == self._seen[0]

    def _look(self, found: os.stat_result, *, empty: bool) -> None:
        """Take note of the file as it is. Raises BankDamagedError if it is cut short; `empty`: may be without a page.

        LMDB maps the file into memory, and a page that is not there kills who touches it. What is cut between this
        look and the transaction after it, some ten microseconds for a lookup, still does.
        """
        missing = missing_bytes(self._data, found.st_size)
        if missing and not (empty and found.st_size == 0):
            raise BankDamagedError(
                f"{self.where}: data.mdb is cut short, {missing:,} bytes are missing after {found.st_size:,}; "
                "copy it again, or remove the directory and publish again"
            )
        self._seen = (found.st_ino, found.st_size, found.st_mtime_ns)

    def _stretch(self) -> None:
        """Keep the file as long as its meta pages say: LMDB leaves out last pages that were taken and given back."""
        size = os.stat(self._data).st_size
        if missing := missing_bytes(self._data, size):
            os.truncate(self._data, size + missing)

    def _refuse_full(self, error: Exception) -> None:
        # LMDB reports a write that the disk took only in part, the last before it is full, as an I/O error.
        if isinstance(error, lmdb.DiskError) or is_full(error) or "Input/output error" in str(error):
            raise BankFullError(f"{disk_full(self.path)} ({error})") from None

    def _close(self) -> None:
        if self._env is not None:
            self._env.close()
            self._env = None


def get(txn: "Transaction", key: bytes) -> bytes | None:
    """The value of `key`; our transactions give bytes, not buffers."""
    return cast("bytes | None", txn.get(key))


def key_of(cursor: lmdb.Cursor) -> bytes:
    """The key where `cursor` stands."""
    return bytes(cursor.key())
