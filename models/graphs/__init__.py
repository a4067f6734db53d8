"""ONNX graphs: the folded recommender that is served, the plain export, KAR."""
