"""Read and write weight files: safetensors, checkpoints of the authors, ONNX."""
