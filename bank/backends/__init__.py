"""Where records can be kept: a backend is one folder here and one line in `BACKENDS`.

Its package has the functions of `bank.protocol.Backend`, which read its URLs; whatever it needs is imported with it,
so only when a bank of its kind is opened. tests/bank runs over all of them.
"""

from typing import Final

# Scheme of a bank URL -> the folder that opens it.
BACKENDS: Final = {
    "lmdb": "lmdb",
    "redis": "redis",
    "rediss": "redis",
    "redis+cluster": "redis",
    "rediss+cluster": "redis",
    "unix": "redis",
}
