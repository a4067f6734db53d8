"""Histories, and what of them a training row may see: folds and views."""
