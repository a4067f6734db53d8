"""Tests of `training.formulas`."""
