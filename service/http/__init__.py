"""The HTTP layers around the routes: bounds of a request, buffering, draining, error pages."""
