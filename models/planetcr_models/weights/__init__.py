"""Weight files: safetensors, the authors' checkpoints, ONNX."""
