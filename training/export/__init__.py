"""From a fitted recommender to a release directory, and from there into a bank."""
