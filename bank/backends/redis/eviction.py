"""Whether Redis evicts keys when its memory is full: a bank must not lose records."""

from typing import Any

from redis.exceptions import ResponseError

from userip.bank.backends.redis.client import SyncClient, text


def eviction_warnings(client: SyncClient) -> list[str]:
    """One line for every policy that evicts, with the fix; none where the server may not be asked (INFO)."""
    try:
        answer: Any = client.info("memory")
    except ResponseError:  # hosted servers and ACLs refuse it, and a warning is not worth failing for
        return []
    nodes = list(answer.values()) if all(isinstance(node, dict) for node in answer.values()) else [answer]
    policies = {text(node.get("maxmemory_policy", "noeviction")) for node in nodes if node.get("maxmemory")}
    return [
        f"maxmemory-policy is {policy}: Redis drops {_prey(policy)} when memory is short. Set noeviction."
        for policy in sorted(policies - {"noeviction"})
    ]


def _prey(policy: str) -> str:
    # Only locks expire, and without its lock a publication fails; all other policies take whatever they find.
    return "locks of publications" if policy.startswith("volatile-") else "profiles"
