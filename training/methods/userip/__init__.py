"""UserIP-Tuning: soft prompts inferred through a frozen language model, with codebooks in the loop."""
