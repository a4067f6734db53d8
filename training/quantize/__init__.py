"""From profiles to codes, without a language model."""
