"""What is asked, by which generator, and whether the answers are right."""
