"""``python -m jaxroof``."""

from jaxroof.cli import run_process

run_process()
