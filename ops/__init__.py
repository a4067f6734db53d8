"""Commands on a bank: publish, activate, roll back, prune, forget, inspect. No torch, no onnxruntime."""
