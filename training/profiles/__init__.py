"""Profile inference: soft prompts per user, EM with codebooks, cross-fitting and fold-in."""
