"""Several processes, one sweep: joining them, and what each says to all."""

import contextlib
import dataclasses
import os
import socket
import sys
import time
from collections.abc import Iterator

import jax
import numpy as np

from jaxroof.files import COUNT, POSITIVE, InputError, Range, check


@dataclasses.dataclass(frozen=True)
class Processes:
    """The options that say which process of how many this is, and where they meet."""

    coordinator: str | None
    processes: int | None
    process_id: int | None
    timeout: float

    @property
    def several(self) -> bool:
        """Whether there are others."""
        return self.coordinator is not None

    def share(self, chunks: int) -> range:
        """This process's own run of chunks."""
        index, count = (self.process_id or 0, self.processes or 1) if self.several else (0, 1)
        return range(chunks * index // count, chunks * (index + 1) // count)


def join(group: Processes) -> None:
    """Meet the others, before JAX looks for devices. Raises InputError."""
    options = {"--coordinator": group.coordinator, "--processes": group.processes, "--process-id": group.process_id}
    if missing := [option for option, value in options.items() if value is None]:
        if len(missing) < len(options):
            raise InputError(missing[0], "is missing: --coordinator, --processes and --process-id go together")
        return
    address = str(group.coordinator)
    count = int(check.number("--processes", "P", group.processes, COUNT))
    legal = Range(high=count - 1, whole=True)
    index = int(check.number("--process-id", "I", group.process_id, legal))
    host, _, port = address.rpartition(":")
    if not host or not (port.isascii() and port.isdigit() and 0 < int(port) < 2**16):
        raise InputError("--coordinator", address, "must be HOST:PORT")
    check.number("--timeout", "seconds", group.timeout, POSITIVE)
    _meet(address, (host, int(port)), count, index, group.timeout)
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    jax.distributed.initialize(address, count, index)


def gather(data: bytes) -> list[bytes]:
    """What every process gives, in order, on every process: they wait for each other."""
    if jax.process_count() == 1:
        return [data]
    from jax.experimental.multihost_utils import process_allgather

    with _stdout_is_stderr():
        sizes = np.ravel(process_allgather(np.int32(len(data))))
        padded = np.frombuffer(data.ljust(int(sizes.max()), b"\0"), dtype=np.uint8)
        rows = process_allgather(padded)
    return [row[:size].tobytes() for row, size in zip(rows, sizes, strict=True)]


@contextlib.contextmanager
def _stdout_is_stderr() -> Iterator[None]:
    """The collectives' library reports its connections on stdout, where only results belong."""
    sys.stdout.flush()
    stdout = os.dup(1)
    os.dup2(2, 1)
    try:
        yield
    finally:
        os.dup2(stdout, 1)
        os.close(stdout)


def _meet(address: str, at: tuple[str, int], count: int, index: int, timeout_s: float) -> None:
    """Wait until all are there: JAX's own meeting ends the program where one is missing. Raises InputError."""
    end = time.monotonic() + timeout_s
    try:
        if index == 0:
            _await_others(at[1], count, end)
        else:
            _await_first(at, index, end)
    except TimeoutError:
        raise InputError("--coordinator", address, f"not all {count} processes came within {timeout_s:g} s") from None
    except OSError as error:
        raise InputError("--coordinator", address, f"cannot be reached: {error}") from None


def _await_others(port: int, count: int, end: float) -> None:
    """The first process: let every other one say its number, then let all go."""
    there: dict[bytes, socket.socket] = {}
    with contextlib.ExitStack() as sockets, socket.create_server(("", port)) as server:
        while len(there) < count - 1:
            server.settimeout(max(end - time.monotonic(), 1e-3))
            peer = sockets.enter_context(server.accept()[0])
            peer.settimeout(max(end - time.monotonic(), 1e-3))
            there[peer.recv(16)] = peer
        for peer in there.values():
            peer.sendall(b"all")


def _await_first(at: tuple[str, int], index: int, end: float) -> None:
    """Every other one: find the first, and wait for it to say that all are there."""
    while True:
        try:
            with socket.create_connection(at, timeout=max(end - time.monotonic(), 1e-3)) as first:
                first.sendall(str(index).encode())
                if first.recv(16) == b"all":
                    return
        except (ConnectionError, socket.gaierror):
            if time.monotonic() > end:
                raise
        if time.monotonic() > end:
            raise TimeoutError
        time.sleep(0.2)
