"""Load shedding and deadlines."""
