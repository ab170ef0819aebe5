"""Tasks for joblib: threads on this machine, or whatever ``joblib.parallel_config`` asks for, such as a cluster."""

from __future__ import annotations

import concurrent.futures
import pickle
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import joblib
from joblib.parallel import get_active_backend

_ATTEMPTS = 3


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
    """What runs tasks; on a cluster of Dask, what all tasks share is the result of a task of its own.

    Joblib would scatter it with the first task, and Dask's scattering to a worker that has just died never ends, or
    loses the task without a word (joblib 1.6, distributed 2026.8).  A task's result is made anew elsewhere.
    """
    backend, _ = get_active_backend(prefer="threads")
    if not hasattr(backend, "data_futures"):
        return joblib.Parallel(n_jobs=n_jobs, prefer="threads", return_as="generator")
    patience = backend.wait_for_workers_timeout
    there = type(backend)(client=backend.client, wait_for_workers_timeout=patience, **backend.submit_kwargs)
    packed = pickle.dumps(shared, protocol=5)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Sending large graph")
        there.data_futures = {id(shared): backend.client.submit(pickle.loads, packed, pure=False)}
    with joblib.parallel_config(backend=there):
        return joblib.Parallel(n_jobs=n_jobs, prefer="threads", return_as="generator")
