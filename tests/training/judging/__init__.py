"""What is counted of histories."""
