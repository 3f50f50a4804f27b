"""Several processes, one sweep: joining them, and what each says to all."""

import dataclasses
import socket
import time

import jax
import numpy as np

from jaxroof.inputs import files
from jaxroof.inputs.errors import InputError
from jaxroof.leaves import COUNT, Range


@dataclasses.dataclass(frozen=True)
class Processes:
    """The options that say which process of how many this is, and where they meet."""

    coordinator: str | None
    count: int | None
    index: int | None
    timeout_s: float

    @property
    def several(self) -> bool:
        """Whether there are others."""
        return self.coordinator is not None

    def share(self, chunks: int) -> range:
        """This process's own run of chunks."""
        index, count = (self.index or 0, self.count or 1) if self.several else (0, 1)
        return range(chunks * index // count, chunks * (index + 1) // count)


def join(processes: Processes) -> None:
    """Meet the others, before JAX looks for devices. Raises InputError."""
    options = {"--coordinator": processes.coordinator, "--processes": processes.count, "--process-id": processes.index}
    if missing := [option for option, value in options.items() if value is None]:
        if len(missing) < len(options):
            raise InputError(missing[0], "is missing: --coordinator, --processes and --process-id go together")
        return
    address = str(processes.coordinator)
    count = int(files.number("--processes", "P", processes.count, COUNT))
    legal = Range(high=count - 1, whole=True)
    index = int(files.number("--process-id", "I", processes.index, legal))
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit():
        raise InputError("--coordinator", address, "must be HOST:PORT")
    if index > 0:
        _await(address, host, int(port), processes.timeout_s)
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    try:
        timeout_s = max(int(processes.timeout_s), 1)
        jax.distributed.initialize(address, count, index, initialization_timeout=timeout_s)
    except (RuntimeError, ValueError) as error:
        raise InputError("--coordinator", address, str(error).splitlines()[0]) from None


def gather(data: bytes) -> list[bytes]:
    """What every process gives, in order, on every process: they wait for each other."""
    if jax.process_count() == 1:
        return [data]
    from jax.experimental.multihost_utils import process_allgather

    sizes = np.ravel(process_allgather(np.int32(len(data))))
    padded = np.frombuffer(data.ljust(int(sizes.max()), b"\0"), dtype=np.uint8)
    rows = process_allgather(padded)
    return [row[:size].tobytes() for row, size in zip(rows, sizes, strict=True)]


def _await(address: str, host: str, port: int, timeout_s: float) -> None:
    """Wait until the coordinator listens."""
    end = time.monotonic() + timeout_s
    while True:
        try:
            socket.create_connection((host, port), timeout=max(end - time.monotonic(), 0.1)).close()
            return
        except OSError as error:
            if time.monotonic() > end:
                raise InputError("--coordinator", address, f"cannot be reached: {error}") from None
            time.sleep(0.2)
