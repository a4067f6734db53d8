"""The feature bank: what is stored per user, under which key, and where.

`open_bank(url)` gives a `Bank` for publishing and tools, `open_reader(url)` an `AsyncReader` for the service.
"""

from userip.bank.opening import open_bank, open_reader
from userip.bank.protocol import AsyncReader, Bank, Lookup, ReleaseInfo, StaleStaging
from userip.bank.record import UNKNOWN_CODE, Record
from userip.bank.redaction import redact
from userip.bank.release_records import ReleaseRecords

__all__ = [
    "UNKNOWN_CODE",
    "AsyncReader",
    "Bank",
    "Lookup",
    "Record",
    "ReleaseInfo",
    "ReleaseRecords",
    "StaleStaging",
    "open_bank",
    "open_reader",
    "redact",
]
