"""Hand batches to the workers of a Dask cluster, where one machine is too small."""

from __future__ import annotations

import asyncio
import logging
import pickle
import platform
import socket
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import CancelledError, Future
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar
from uuid import uuid4

from planetcr_bench import __version__
from planetcr_bench.errors import BenchError
from planetcr_bench.utils.extras import need_cluster

if TYPE_CHECKING:
    from distributed import Client

Item = TypeVar("Item")
Result = TypeVar("Result")

_CONNECT_SECONDS: Final = 10
"""Longest time to wait for the scheduler."""


@dataclass(frozen=True, slots=True)
class Cluster:
    """The workers of a connected cluster.

    Attributes:
        address: Of its scheduler.
        client: Connection to it.
        folders: Which workers must see.
    """

    address: str
    client: Client
    folders: tuple[str, ...]

    def threads(self) -> int:
        """Number of batches that the workers can do at the same time, at least one."""
        threads: dict[str, int] = self.client.nthreads()
        return max(1, sum(threads.values()))

    def submit(
        self, function: Callable[[Item], Result], items: Sequence[Item]
    ) -> Callable[[], list[Result]]:
        """Hand a batch to a worker; returns a function that waits for its results."""
        task = _Task(_versions(), self.folders, pickle.dumps((function, items)))
        # Dask loses a worker that cannot import the function of a task; this one all can.
        future = self.client.submit(
            pickle.loads, pickle.dumps(task), key=f"planetcr-bench-{uuid4().hex}"
        )
        # Results come as soon as they are there: a worker that dies takes none along.
        coming = self.client.gather(future, asynchronous=True)
        loop = self.client.loop.asyncio_loop
        return partial(self._results, asyncio.run_coroutine_threadsafe(coming, loop), items)

    def _results(self, future: Future[list[Result]], items: Sequence[Item]) -> list[Result]:
        from distributed import KilledWorker

        try:
            return future.result()
        except KilledWorker as error:
            first, last = (getattr(item, "name", item) for item in (items[0], items[-1]))
            raise BenchError(
                f"{self.address}: every worker that had the batch {first} to {last} died, usually "
                "for lack of memory; give workers more, or try a smaller --batch, then run the "
                "same command again"
            ) from error
        except ImportError as error:
            raise BenchError(
                f"{self.address}: a worker cannot import what a batch needs ({error}); install "
                f"planetcr-bench {__version__} there"
            ) from error


@contextmanager
def connect(address: str, folders: Iterable[str | Path]) -> Iterator[Cluster]:
    """Connect to a Dask cluster within a ``with`` block; its end cancels what is not done.

    Args:
        address: Of the scheduler, such as ``tcp://node1:8786``.
        folders: Which workers must see, under the same paths.

    Raises:
        BenchError: The scheduler cannot be reached, or is lost; a worker has another version of
            Python or planetcr-bench, or does not see a folder; or a batch kills every worker.
        MissingExtraError: Dask is not installed.
    """
    need_cluster()
    from distributed import Client
    from distributed.comm import CommClosedError

    paths = tuple(sorted(map(str, folders)))
    for path in paths:
        if not Path(path).is_absolute():
            raise BenchError(
                f"{path}: expected an absolute path, which means the same to all workers"
            )
    logging.getLogger("distributed.client").setLevel(logging.CRITICAL)  # errors say it in one line
    try:
        client = Client(address, timeout=_CONNECT_SECONDS, set_as_default=False)
    except (OSError, ValueError) as error:
        raise BenchError(
            f"{address}: expected the address of a running Dask scheduler, such as "
            f"tcp://HOST:8786: {error}"
        ) from error
    with client:
        if not client.nthreads():
            print(f"{address}: waiting for the first worker", file=sys.stderr, flush=True)
        try:
            yield Cluster(address, client, paths)
        except (CancelledError, CommClosedError) as error:
            raise BenchError(
                f"{address}: the scheduler was lost; start it, then run the same command again"
            ) from error


# --- In a worker ----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Task:
    """A batch that is done where it is unpickled: what that gives are its results.

    Attributes:
        versions: Which the worker must have.
        folders: Which it must see.
        work: Function and items, pickled.
    """

    versions: tuple[str, str]
    folders: tuple[str, ...]
    work: bytes

    def __reduce__(self) -> tuple[Callable[..., list[Any]], tuple[object, ...]]:
        return _do, (self.versions, self.folders, self.work)


def _versions() -> tuple[str, str]:
    """Versions of Python and planetcr-bench."""
    return ".".join(platform.python_version_tuple()[:2]), __version__


def _do(versions: tuple[str, str], folders: Sequence[str], work: bytes) -> list[Any]:
    """Do a batch; errors that a user can fix name the host."""
    host = socket.gethostname()
    try:
        _check_worker(versions, folders)
        # Dask itself unpickles and runs whatever a client of the scheduler sends
        function, items = pickle.loads(work)  # noqa: S301
        return [function(item) for item in items]
    except BenchError as error:
        raise type(error)(f"worker on {host}: {error.message}", error.problems) from error
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        raise BenchError(f"worker on {host}: {where}{error.strerror or error}") from error


def _check_worker(versions: tuple[str, str], folders: Sequence[str]) -> None:
    wanted, found = map("Python {0[0]} with planetcr-bench {0[1]}".format, (versions, _versions()))
    if wanted != found:
        raise BenchError(f"expected {wanted}, got {found}")
    for folder in folders:
        if not Path(folder).is_dir():
            raise BenchError(f"{folder}: no such folder; workers need it under the same path")
