"""`userip demo`: from nothing to a running service that answers, explained."""
