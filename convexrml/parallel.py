"""Tasks for joblib: threads on this machine, or whatever ``joblib.parallel_config`` asks for, such as a cluster."""

from __future__ import annotations

import concurrent.futures
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import joblib
from joblib.parallel import get_active_backend

_ATTEMPTS = 5
_PATIENCE = 60.0  # seconds for a cluster to have a worker


def results(tasks: Sequence[Any], n_jobs: int | None, shared: Any) -> Iterator[Any]:
    """Results in the order of the tasks; tasks lost with a worker of a cluster are handed out again, with a warning.

    Kernels and HiGHS release Python's lock, so threads are preferred; what ``joblib.parallel_config`` asks for comes
    first.

    Parameters
    ----------
    tasks : sequence
        Each made by ``joblib.delayed``.
    n_jobs : int or None
    shared : object
        An argument of every task, which is worth sending to a cluster's workers only once.
    """
    left = list(tasks)
    for attempt in range(_ATTEMPTS):
        try:
            for part in _pool(n_jobs, shared)(list(left)):
                left.pop(0)
                yield part
            return
        except (concurrent.futures.CancelledError, concurrent.futures.BrokenExecutor) as error:
            if attempt == _ATTEMPTS - 1:
                raise
            warnings.warn(f"{len(left)} tasks were lost ({error!r}); handing them out again", stacklevel=2)


def _pool(n_jobs: int | None, shared: Any) -> Any:
    """What runs tasks; on a cluster of Dask, its workers have what all tasks share before the first one.

    Joblib would send it with the first task; if a worker dies just then, the task is never handed out, and nobody is
    told (joblib 1.5).
    """
    backend, _ = get_active_backend(prefer="threads")
    if not hasattr(backend, "data_futures"):
        return joblib.Parallel(n_jobs=n_jobs, prefer="threads", return_as="generator")
    patience = backend.wait_for_workers_timeout
    try:
        backend.client.wait_for_workers(1, timeout=_PATIENCE)
        there = type(backend)(
            client=backend.client, scatter=[shared], wait_for_workers_timeout=patience, **backend.submit_kwargs
        )
    except OSError as error:
        raise concurrent.futures.BrokenExecutor(f"no worker was there to take the training set: {error}") from error
    with joblib.parallel_config(backend=there):
        return joblib.Parallel(n_jobs=n_jobs, prefer="threads", return_as="generator")
