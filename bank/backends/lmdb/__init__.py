"""The embedded bank: one LMDB directory, no server."""
