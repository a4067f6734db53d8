"""The bank in a Redis server or cluster. `url` describes its URLs, `bank` its keys."""

from userip.bank.backends.redis.bank import RedisBank
from userip.bank.backends.redis.reader import RedisReader
from userip.bank.backends.redis.url import parse_url


def open_bank(url: str, *, create: bool, timeout_s: float, lease_s: float) -> RedisBank:
    """The bank in a server or cluster, whose every answer must come within `timeout_s`."""
    return RedisBank(parse_url(url), timeout_s=timeout_s, lease_s=lease_s)


def open_reader(url: str, *, deadline_s: float, max_connections: int) -> RedisReader:
    """The server or cluster, for the service."""
    return RedisReader(parse_url(url), deadline_s=deadline_s, max_connections=max_connections)
