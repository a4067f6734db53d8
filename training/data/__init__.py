"""Interactions and catalogue: readers, cleaning, splits, the simulator, and the data set directory."""
