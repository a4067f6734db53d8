"""The feature bank: what is stored per user, under which key, and where."""
