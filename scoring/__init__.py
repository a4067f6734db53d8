"""Online without HTTP: a user and items in, scores out. Errors here carry no status codes."""
