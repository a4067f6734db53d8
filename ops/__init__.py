"""Commands on a bank: publish, activate, roll back, prune, inspect. No torch, transformers or onnxruntime here."""
