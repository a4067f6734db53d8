"""Where records can be kept: a backend is one folder here and one line in `BACKENDS`."""
