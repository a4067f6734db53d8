"""A circuit breaker: after failures in a row the bank is not read, but for one probe now and then."""


class Breaker:
    """Closed: reads go through. Open: they do not, except one every `retry_s`, which closes it when it works."""

    def __init__(self, failures: int, retry_s: float) -> None:
        """`failures` in a row open it; 0 never does."""
        self._most = failures
        self._retry_s = retry_s
        self._failed = 0
        self._next_probe = 0.0

    @property
    def is_open(self) -> bool:
        """Whether the last reads failed so often that most are not tried."""
        return 0 < self._most <= self._failed

    def allows(self, now: float) -> bool:
        """Whether a read may be tried at `now` (seconds on any clock that only goes forward)."""
        if not self.is_open:
            return True
        if now < self._next_probe:
            return False
        self._next_probe = now + self._retry_s
        return True

    def succeeded(self) -> None:
        """A read worked."""
        self._failed = 0

    def failed(self, now: float) -> None:
        """A read failed at `now`."""
        self._failed += 1
        if self._failed == self._most:
            self._next_probe = now + self._retry_s
