"""Observability: one record per request, read by metrics, log and traces."""
