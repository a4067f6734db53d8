"""What is told of a request: one record, read by metrics, log and traces."""
