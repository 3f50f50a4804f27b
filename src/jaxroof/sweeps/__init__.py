"""Many points: where they lie, what is evaluated at them, what is kept."""
