"""Taste: generosity, warmth, and which items users like more than others do, in closed form. No language model."""
