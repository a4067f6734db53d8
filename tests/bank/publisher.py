"""A publisher to be killed, in a process of its own: URL RELEASE USERS SECONDS_PER_STEP STEP_USERS LEASE_S."""

import sys
import time

import userip.bank.backends.lmdb.staging
import userip.bank.backends.redis.publish
from tests.fixtures.banks import make_users
from userip.bank import open_bank

if __name__ == "__main__":
    url, release, count, seconds, step, lease = sys.argv[1:]
    userip.bank.backends.lmdb.staging._CHUNK = userip.bank.backends.redis.publish._USERS_PER_FLUSH = int(step)  # type: ignore[misc]

    def report(done: int, total: int) -> None:
        """Say how far it is, so that the test can pick its moment."""
        print(done, flush=True)
        time.sleep(float(seconds))

    users = make_users(int(count))
    opened = open_bank(url, lease_s=float(lease))
    opened.publish(release, users.records, report)
    opened.activate(release)
    print("activated", flush=True)
