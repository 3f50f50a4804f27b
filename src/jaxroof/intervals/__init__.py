"""How well a number is known: what the stated ranges of constants make of it."""
