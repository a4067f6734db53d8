"""The probes: alive if it answers at all, ready if it should get traffic."""

from userip.bank.errors import BankError, BankKeyError
from userip.bank.protocol import AsyncReader
from userip.scoring.messages import FieldProblem


async def not_ready_reasons(reader: AsyncReader, release: str, *, follows: bool = False) -> list[FieldProblem]:
    """What is missing for full service of `release`; empty when nothing is.

    A service that `follows` the bank is ready while another release is active: it is about to load it, or cannot and
    serves the one before as well as ever. Every replica would turn unready at once otherwise.
    """
    try:
        active, meta = await reader.active(), await reader.meta(release)
        if meta is not None:
            meta.require_key()
    except BankKeyError:
        return [FieldProblem("bank", f"hides the users of {release} with a key that this service does not have")]
    except BankError:
        return [FieldProblem("bank", "does not answer; scores are served with the default profile")]
    if meta is None:
        return [FieldProblem("bank", f"holds no records of release {release}; publish it")]
    if active != release and not follows:
        return [
            FieldProblem(
                "release",
                f"served is {release}, active in the bank is {active or 'none'}; activate or reload",
            )
        ]
    return []
