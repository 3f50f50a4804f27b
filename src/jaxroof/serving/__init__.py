"""Many requests on one deployment."""
