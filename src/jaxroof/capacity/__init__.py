"""What fits a server's GPUs: weights, activations, KV cache, requests."""
