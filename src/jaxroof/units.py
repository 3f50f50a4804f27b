"""Unit constants: multiply to go from a file's unit to SI, divide to go back."""

NANO = 1e-9
MICRO = 1e-6
MILLI = 1e-3
PERCENT = 1e-2
MEGA = 1e6
MEBI = 2.0**20
GIGA = 1e9
TERA = 1e12
