"""A rate limit per API key: a token bucket, kept as the one number that the generic cell rate algorithm needs."""


class RateLimit:
    """Lets every key send `rate` requests a second on average, and `burst` at once. A rate of 0 limits nothing.

    Each worker counts for itself: n workers let n times as much through.
    """

    def __init__(self, rate: float, burst: int) -> None:
        self._rate = rate
        self._burst = burst
        self._full_at: dict[str, float] = {}  # key id -> when its bucket is full again

    def wait(self, key: str, rate: float | None, now: float) -> float:
        """Take a token of `key`: 0.0; or, when it has none, the seconds until it has. `rate` is the key's own."""
        rate = self._rate if rate is None else rate
        if not rate:
            return 0.0
        full_at = max(self._full_at.get(key, now), now)
        late = full_at - now - (self._burst - 1) / rate
        if late > 1e-9:  # a rounding error is no token
            return late
        self._full_at[key] = full_at + 1 / rate
        return 0.0
