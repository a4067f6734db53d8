"""What an operator does to a bank: publish, inspect, roll back. Imports no torch, transformers or onnxruntime."""
