"""``--scheduler``: workers of a Dask cluster evaluate chunks, and this process keeps the results, in order."""

import collections
import contextlib
import dataclasses
import functools
import importlib.util
import itertools
import os
import re
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import jax

from jaxroof.commands.program_cache import use_precision
from jaxroof.files import COUNT, InputError, check
from jaxroof.report.report import note
from jaxroof.sweeps import store, stream
from jaxroof.sweeps.options import load_plan, read
from jaxroof.sweeps.plan import Plan
from jaxroof.sweeps.stream import Chunks, Hints, Program, States

# Chunks under way per worker: one that it evaluates, one that waits there.
AHEAD = 2
# A chunk whose worker was lost goes to another one; after so many losses the chunk is at fault.
MOST_LOST = 50
LOOPBACK = "127.0.0.1"
# Ctrl-C goes to every process of a terminal; the client answers it, and ends its workers.
NO_CTRL_C = "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)"
# Where the client was killed, Python clears its semaphores away, and would say so on stderr.
NO_WARNING = "ignore:resource_tracker"
# A worker's threads share its devices, and a plan's generator of points.
ONE_AT_A_TIME = threading.Lock()


@dataclasses.dataclass(frozen=True)
class Cluster:
    """A connected cluster; its first worker has said ``manifest``, and every worker's must be the same."""

    plan: Plan
    chunks: Chunks
    manifest: dict[str, Any]
    address: str
    nthreads: Callable[[], Any]
    submit: Callable[..., Any]

    def states(self, indices: Iterable[int], hints: Callable[[], Hints]) -> Iterator[States]:
        """What is kept of each chunk, in order; a few are under way."""
        rest, under_way = iter(indices), collections.deque[Any]()
        while True:
            with _in_one_line(self.address):
                room = AHEAD * len(self.nthreads()) - len(under_way)
                for index in itertools.islice(rest, max(room, 0 if under_way else 1)):
                    under_way.append(self.submit(self.chunks.block, index, hints(), pure=False))
                if not under_way:
                    return
                manifest, state = under_way.popleft().result()
            if manifest != self.manifest:
                differing = store.difference(manifest, self.manifest)
                raise InputError("--scheduler", self.address, f"workers differ, so their results would: {differing}")
            yield state


@contextlib.contextmanager
def connected(address: str, plan: Plan, asked: str, memory: float | None, block: int | None) -> Iterator[Cluster]:
    """A cluster whose first worker has compiled the sweep. Raises InputError, also for what goes wrong on a worker."""
    if not re.fullmatch(r"local:\d+|\w+://.+:\d+", address, re.ASCII):
        raise InputError("--scheduler", address, "must be local:N or an address such as tcp://HOST:PORT")
    if importlib.util.find_spec("distributed") is None:
        raise InputError("--scheduler", address, "needs Dask: pip install 'jaxroof[cluster]'")
    work = functools.partial(_work, asked, jax.numpy.result_type(float).name.replace("float", "f"), memory)
    with contextlib.ExitStack() as stack:
        with _in_one_line(address):
            client = stack.enter_context(_client(address))
            if not client.nthreads():
                note([f"{address} has no workers yet"])
            manifest, _ = client.submit(work, block, None, {}, pure=False).result()
        chunks = Chunks(plan.space.size, manifest["block"], manifest["devices"])
        yield Cluster(plan, chunks, manifest, address, client.nthreads, functools.partial(client.submit, work))


@contextlib.contextmanager
def _in_one_line(address: str) -> Iterator[None]:
    """Whatever goes wrong between here and a worker."""
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        raise InputError("--scheduler", address, f"{type(error).__name__}: {error}") from None


@contextlib.contextmanager
def _client(address: str) -> Iterator[Any]:
    """A connection; for ``local:N`` to a cluster of this machine that nothing outside of it can reach."""
    import dask
    import distributed

    with contextlib.ExitStack() as stack:
        at: Any = address
        if match := re.fullmatch(r"local:(\d+)", address, re.ASCII):
            workers = int(check.number("--scheduler", "N of local:N", int(match[1]), COUNT))
            os.environ.setdefault("PYTHONWARNINGS", NO_WARNING)
            stack.enter_context(dask.config.set({"distributed.scheduler.allowed-failures": MOST_LOST}))
            local = {"host": LOOPBACK, "dashboard_address": f"{LOOPBACK}:0", "memory_limit": 0, "silence_logs": 50}
            at = stack.enter_context(
                distributed.LocalCluster(n_workers=workers, threads_per_worker=1, preload=[NO_CTRL_C], **local)
            )
        yield stack.enter_context(distributed.Client(at, set_as_default=False))


def _work(
    asked: str, precision: str, memory: float | None, block: int | None, index: int | None, hints: Hints
) -> tuple[dict[str, Any], States]:
    """On a worker: what determines its results, and what is kept of a chunk."""
    with ONE_AT_A_TIME:
        program = _program(asked, precision, memory, block)
        return program.manifest, {} if index is None else program.state(index, hints)


@functools.lru_cache(maxsize=1)
def _program(asked: str, precision: str, memory: float | None, block: int | None) -> Program:
    """On a worker: the compiled sweep, kept between tasks."""
    use_precision(precision, cached=True)
    return stream.build(load_plan(*read(asked)), memory, block, same_block=True)
