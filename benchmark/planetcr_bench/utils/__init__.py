"""Files, untrusted input, worker processes: helpers that know nothing of the benchmark."""
