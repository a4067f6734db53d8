"""The bank in a Redis server or cluster."""
