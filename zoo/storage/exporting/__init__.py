"""Networks as files that are read without this library: ONNX and `torch.export`."""
