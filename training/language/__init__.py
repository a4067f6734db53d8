"""The language model: its text, its tokens, and a small one trained here when none is given."""
