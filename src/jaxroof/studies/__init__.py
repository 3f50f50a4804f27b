"""Pre-registered studies: what they say, how they run, what they show."""
