"""What is written to disk: safetensors and JSON, never code."""
