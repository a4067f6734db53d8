"""The probes: alive if it answers at all, ready if it should get traffic."""

from userip.bank.errors import BankError, BankKeyError, BankRefusedError
from userip.bank.protocol import AsyncReader
from userip.scoring.messages import FieldProblem


async def not_ready_reasons(reader: AsyncReader, release: str) -> list[FieldProblem]:
    """What is missing for full service of `release`; empty when nothing is.

    Another active release is none of it: this one is served as well as ever while the bank has its records, and every
    replica would turn unready at once. `Readiness.release_outdated` says so.
    """
    try:
        meta = await reader.meta(release)
        if meta is not None:
            meta.require_key()
            await reader.get_many(release, [""])  # nobody: metadata and records are different rights
    except BankKeyError:
        return [FieldProblem("bank", f"hides the users of {release} with a key that this service does not have")]
    except BankRefusedError:
        return [FieldProblem("bank", "access refused: a wrong password or a missing right; the log says whose")]
    except BankError:
        return [FieldProblem("bank", "does not answer; scores are served with the default profile")]
    if meta is None:
        return [FieldProblem("bank", f"holds no records of release {release}; publish it")]
    return []
