"""``python -m jaxroof``."""

from jaxroof.process import run_process

run_process()
