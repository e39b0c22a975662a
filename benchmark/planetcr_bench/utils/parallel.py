"""Run a function over many items in worker processes, with results in order."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from functools import partial
from multiprocessing import forkserver, resource_tracker
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

import numpy as np
from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from planetcr_bench.errors import BenchError, SubmissionError
from planetcr_bench.utils.cluster import connect
from planetcr_bench.utils.untrusted import printable

Item = TypeVar("Item")
Result = TypeVar("Result")

Workers: TypeAlias = int | str | None
"""Who does the work: so many processes, by default one per processor; or a Dask cluster's workers.

A cluster is the address of its scheduler, such as ``tcp://node1:8786``.
"""

FEW = 32
"""Fewest items that justify starting worker processes."""

_CONFINED_BYTES = 4 << 30
"""Address space of a process that decodes untrusted bytes."""

_AHEAD = 3
"""Batches per worker in flight."""

_GRACE_SECONDS = 1.0
"""Time to finish the batches in flight after an error."""

_KEPT_BYTES = 31 << 20  # glibc ignores blocks of 32 MiB or more


def processors() -> int:
    """Number of processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def worker_count(workers: int | None, items: int) -> int:
    """Number of worker processes to start; 0: the calling process does the work itself.

    Args:
        workers: As requested by the user; None: one per processor.
        items: Number of items.
    """
    if workers is not None:
        return min(workers, items)
    return 0 if items < FEW else min(processors(), 16)


def run_ordered(
    function: Callable[[Item], Result],
    items: Sequence[Item],
    *,
    workers: Workers = None,
    folders: Iterable[str | Path] = (),
    batch: int = 16,
) -> Iterator[Result]:
    """Call a function on each item, in workers, and yield its results in order.

    At most three batches per worker are in flight, so memory does not grow with the items.

    Args:
        function: Takes an item; must be importable by name.
        items: What to work on.
        workers: See ``Workers`` and :func:`worker_count`.
        folders: Which workers on other machines must see.
        batch: Items sent to a worker at a time.

    Raises:
        BenchError: A worker process died, usually for lack of memory; or see
            :func:`~planetcr_bench.utils.cluster.connect`.
    """
    batches = (items[start : start + batch] for start in range(0, len(items), batch))
    if not items:
        return
    if isinstance(workers, str):
        with connect(workers, folders) as cluster:
            yield from _in_order(batches, partial(cluster.submit, function), cluster.threads)
        return
    count = worker_count(workers, len(items))
    if not count:
        yield from map(function, items)
        return
    try:
        with _workers(count, function, start_worker) as submit:
            yield from _in_order(
                batches, lambda batch: submit(partial(_map, function), batch).result, lambda: count
            )
    except BrokenProcessPool as error:
        raise BenchError(
            "a worker process died, usually for lack of memory; try fewer --workers or a "
            "smaller --batch, then run the same command again"
        ) from error


def _in_order(
    batches: Iterable[Sequence[Item]],
    submit: Callable[[Sequence[Item]], Callable[[], list[Result]]],
    count: Callable[[], int],
) -> Iterator[Result]:
    """Yield the results of batches in order.

    Args:
        batches: What to work on.
        submit: Hands a batch to a worker, and returns a function that waits for its results.
        count: Number of workers at the moment.
    """
    waiting: deque[Callable[[], list[Result]]] = deque()
    for batch in batches:
        waiting.append(submit(batch))
        while len(waiting) >= _AHEAD * count():
            yield from waiting.popleft()()
    while waiting:
        yield from waiting.popleft()()


def run_sandboxed(function: Callable[[Item], Result], argument: Item, *, lost: str) -> Result:
    """Call a function in a separate process, which may crash and has limited memory.

    Args:
        function: Importable by name.
        argument: Of the function.
        lost: Message if the process dies.

    Raises:
        SubmissionError: The process died.
    """
    try:
        with _workers(1, function, _start_confined) as submit:
            result: Result = submit(function, argument).result()
            return result
    except BrokenProcessPool as error:
        raise SubmissionError(lost) from error


def _map(function: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
    return [function(item) for item in items]


@contextmanager
def _workers(
    count: int, function: Callable[..., object], initializer: Callable[[], None]
) -> Iterator[Callable[..., Future[Any]]]:
    """Run worker processes within a ``with`` block; none outlives an error."""
    others = set(multiprocessing.active_children())
    with _started():
        pool = ProcessPoolExecutor(count, mp_context=_context(function), initializer=initializer)

    def submit(work: Callable[..., Any], argument: Any) -> Future[Any]:
        with _uninterrupted(), _started():
            return pool.submit(work, argument)

    try:
        yield submit
    except BaseException:
        children = set(multiprocessing.active_children()) - others
        try:
            pool.shutdown(wait=False, cancel_futures=True)
            end = time.monotonic() + _GRACE_SECONDS
            for process in children:
                process.join(max(0, end - time.monotonic()))
        finally:
            for process in children:
                process.kill()
            for process in children:
                process.join(_GRACE_SECONDS)
        raise
    finally:
        pool.shutdown(cancel_futures=True)


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """Defer Ctrl-C until processes have started, so that none is left behind half started."""
    before = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or before is None:
        yield
        return
    came: list[int] = []
    signal.signal(signal.SIGINT, lambda number, _: came.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
        if came:
            signal.raise_signal(signal.SIGINT)


@contextmanager
def _started() -> Iterator[None]:
    """Explain in one line why processes cannot start."""
    try:
        yield
    except (OSError, EOFError, ImportError, NotImplementedError) as error:
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise BenchError(
            f"worker processes cannot be started ({reason}){_shared_memory()}; free some, or give "
            "the container more (docker run --shm-size=1g), or do without: --workers 0"
        ) from error


def _shared_memory() -> str:
    """Describe how much shared memory is left, if the system reports it."""
    folder = "/dev/shm"  # noqa: S108  # only its free space is read
    with suppress(OSError):
        return f"; {folder} has {shutil.disk_usage(folder).free >> 10:,} kB free"
    return ""


def _start_confined() -> None:
    start_worker()
    with suppress(ImportError, ValueError, OSError):  # systems without limits
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (_CONFINED_BYTES, _CONFINED_BYTES))


def _context(function: Callable[..., object]) -> multiprocessing.context.BaseContext:
    """Start method whose processes share no threads or locks and import the module only once."""
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    module = getattr(function, "func", function).__module__
    context.set_forkserver_preload([module])
    resource_tracker.ensure_running()  # otherwise signals would pass again
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:  # the parent reports Ctrl-C, not its workers
        forkserver.ensure_running()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
    return context


def start_worker() -> None:
    """Prepare a fresh worker process.

    It ends when its parent is killed, instead of waiting for work for ever; and it keeps the memory
    of freed arrays: glibc raises the limit above which memory returns to the system when a large
    block is freed, and allocating it again for every scene can cost as much time as the arithmetic.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # its parent ends it
    np.empty(_KEPT_BYTES, np.uint8)
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_exit_after, args=(parent,), daemon=True).start()


def _exit_after(process: multiprocessing.process.BaseProcess) -> None:
    process.join()
    os._exit(1)


class _RateColumn(ProgressColumn):
    """Scenes per second."""

    def render(self, task: Task) -> Text:
        return Text(f"{task.speed:.1f}/s" if task.speed else "  –/s", style="progress.data.speed")


def track(
    results: Iterator[Result], what: str, total: int, *, done: int = 0, quiet: bool = False
) -> Iterator[Result]:
    """Pass results on and show progress, rate and remaining time on standard error.

    Args:
        results: To pass on.
        what: Verb and noun before the bar.
        total: Number of all items.
        done: Items that an earlier, interrupted run has finished.
        quiet: Show nothing.
    """
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        _RateColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    console = Console(stderr=True)
    with Progress(*columns, console=console, disable=quiet or not console.is_terminal) as progress:
        task = progress.add_task(escape(printable(what)), total=total, completed=done)
        for result in results:
            yield result
            progress.advance(task)
