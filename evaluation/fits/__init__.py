"""Fits and predictions: one trial each, over several processes, kept on disk."""
