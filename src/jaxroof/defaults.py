"""What holds everywhere, in Python and on the command line, where nothing else is said."""

STEP_MODEL = "kernels"
SCORING = "itl"
HARDWARE = "h100-sxm"
OVERHEADS = "none"
