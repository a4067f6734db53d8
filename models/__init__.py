"""Networks in PyTorch: recommenders, codebook, soft prompt, surrogate; folding and the ONNX graph."""
