"""Which release is served: loaded, checked, chosen at the start, followed and replaced."""
