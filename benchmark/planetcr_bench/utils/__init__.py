"""Handle files, untrusted input and worker processes, independently of the benchmark."""
