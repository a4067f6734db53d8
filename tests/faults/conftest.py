"""The application, redis-servers and releases of the other rooms' tests."""

from tests.bank.conftest import start_redis
from tests.service.conftest import client, lmdb_url, log, serve, tiny

__all__ = ["client", "lmdb_url", "log", "serve", "start_redis", "tiny"]
