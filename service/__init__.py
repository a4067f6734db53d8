"""HTTP: application, routes, keys, load shedding, metrics. No torch, transformers, polars, pandas or ray here."""
