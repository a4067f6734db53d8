"""The method `taste`."""
