"""What size costs: banks of millions of users, releases of millions of items, inference."""
