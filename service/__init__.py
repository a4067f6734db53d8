"""Everything online. Nothing here imports torch, transformers, polars, pandas or ray."""
