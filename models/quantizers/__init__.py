"""From profiles to codes: codebooks, and the surrogate that lets clicks teach them."""
