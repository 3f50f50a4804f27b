"""Measurements, what the model says of them, and the errors."""
