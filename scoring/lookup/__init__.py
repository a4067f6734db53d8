"""Reading profiles: the cache, reads that are joined, the breaker, and what is made of a record."""
