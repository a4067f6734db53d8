"""Whether this worker should get traffic: it is alive in any case, or it would not be asked."""

from bank.errors import BankError
from bank.protocol import AsyncReader
from service.errors import FieldProblem


async def not_ready_reasons(reader: AsyncReader, release: str) -> list[FieldProblem]:
    """What is missing for full service of `release`; empty when nothing is."""
    try:
        active = await reader.active()
        held = await reader.has_release(release)
    except BankError:
        return [FieldProblem("bank", "does not answer; scores are served with the default profile")]
    if not held:
        return [FieldProblem("bank", f"holds no records of release {release}; publish it")]
    if active != release:
        return [
            FieldProblem(
                "release",
                f"served is {release}, active in the bank is {active or 'none'}; activate or reload",
            )
        ]
    return []
