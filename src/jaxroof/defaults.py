"""What holds everywhere, in Python and on the command line, where nothing else is said."""

STEP_MODEL = "kernels"
SCORING = "itl"
HARDWARE = "h100-sxm"
OVERHEADS = "none"
SERVER = "vllm-0.15"
PUBLISHED_SERVER = "vllm-sync"  # of the published step times, memory and roofline


def server(step_model: str) -> str:
    """The server of a step-time model."""
    return PUBLISHED_SERVER if step_model in ("memory", "roofline") else SERVER
