"""Counts: how generously users judge, how much they like and how much they do. No language model."""
