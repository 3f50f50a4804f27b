"""One constant searched on every train/test split, and on sampled workloads."""
