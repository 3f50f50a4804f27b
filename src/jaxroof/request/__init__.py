"""Length distributions → a few weighted steps → the latency of a request."""
