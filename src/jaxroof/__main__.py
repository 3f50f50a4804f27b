"""``python -m jaxroof``."""

from jaxroof.cli import main

main()
