"""The soft prompt and the loss of the tokens behind it."""
