"""Recommenders over categorical fields, one file each, and how a fitted one is folded."""
