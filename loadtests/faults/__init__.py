"""Faults that take minutes: outage, overload, hot swaps, hours of steady load."""
