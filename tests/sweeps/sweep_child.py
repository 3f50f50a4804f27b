"""Run a command line in a process of its own, with small blocks so that a small sweep has many chunks.

``sweep_child.py ARGUMENT…`` runs one; the workers that it starts have small blocks too.
``sweep_child.py --kills N TARGET ARGUMENT…`` runs it again and again, kills it at random moments,
goes on with ``--resume``, and prints a digest of each finished TARGET.
"""

import hashlib
import os
import random
import shutil
import signal
import sys
import time
import warnings
from pathlib import Path

import jaxroof.commands.sweep  # noqa: F401  # before the forks
from jaxroof.cli import main, run_process
from jaxroof.sweeps import stream

stream.BLOCK_SIZES = {"cpu": 64}


def start(arguments):
    """A fork that runs the command; JAX has no threads before it."""
    child = os.fork()
    if child == 0:
        main(arguments)
    return child


def kill(target, arguments, kills):
    """Kill during the sweep, or at any moment where that is over before."""
    manifest, generator = target.with_name(f"{target.name}.part") / "manifest.json", random.Random(0)
    killed = 0
    while killed < kills:
        resume = manifest.exists()
        child = start([*arguments, "--resume"])
        while not manifest.exists() and not os.waitpid(child, os.WNOHANG)[0]:
            time.sleep(0.001)
        # Going on, the first chunk comes after loading and compiling.
        time.sleep(generator.uniform(0, 1.0 if resume else 0.2))
        try:
            os.kill(child, signal.SIGKILL)
            killed += os.WIFSIGNALED(os.waitpid(child, 0)[1])
        except (ProcessLookupError, ChildProcessError):
            pass
        if target.exists():
            finish(target, arguments, manifest)
    finish(target, arguments, manifest)


def finish(target, arguments, manifest):
    """Go on to the end, print the digest, and start afresh."""
    if manifest.exists() or not target.exists():
        child = start([*arguments, "--resume"])
        assert os.waitpid(child, 0)[1] == 0
    sys.stdout.write(hashlib.sha256(target.read_bytes()).hexdigest() + "\n")
    target.unlink()
    shutil.rmtree(manifest.parent, ignore_errors=True)


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    if sys.argv[1] == "--kills":
        kill(Path(sys.argv[3]), sys.argv[4:], int(sys.argv[2]))
    else:
        run_process()
