"""The recommender: fields from train rows, one visible training loop, and its metrics."""
