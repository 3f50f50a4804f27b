"""Derivatives on both sides of kinks; what the measurements identify."""
