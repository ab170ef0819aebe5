"""What is to be compared, as tasks of a ledger: every instance by every solver at every accuracy."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from convexrml.compare.direct import callable_directly
from convexrml.compare.families import Instance, get_family
from convexrml.compare.measure import DIRECT, SEARCH
from convexrml.compare.verdict import tolerances
from convexrml.errors import InvalidInputError
from convexrml.ledger import Ledger
from convexrml.profiles import also_from, get_profile, load_profiles


def plan(
    ledger: Ledger,
    families: Sequence[str],
    *,
    sizes: Sequence[int] | None = None,
    seeds: Sequence[int] = (0, 1, 2),
    solvers: Sequence[str] | None = None,
    accuracies: Sequence[str] = ("fast", "accurate"),
    profiles: Path | None = None,
    progress: Callable[[str, int, int], object] | None = None,
) -> int:
    """Add the tasks that are not there yet; what is there stays as it is.

    Parameters
    ----------
    ledger : Ledger
    families : sequence of str
    sizes : sequence of int, optional
        Default: each family's own.
    seeds : sequence of int
    solvers : sequence of str, optional
        Names of profiles, ``"search"``, ``"qpsolvers:NAME"``.  Default: all that take the family's class.  A solver
        that does not take it has no row; one that is not installed has rows that say so.
    accuracies : sequence of str
    profiles : Path, optional
        A folder of profiles besides the shipped ones.
    progress : callable, optional
        Called with (stage, finished, total).

    Returns
    -------
    int
        How many tasks are new.
    """
    for accuracy in accuracies:
        tolerances(accuracy)
    added = 0
    with also_from(profiles):
        instances = [
            (Instance(name, size, seed), roads(name, solvers))
            for name in families
            for size in sizes or get_family(name).sizes
            for seed in seeds
        ]
        if not any(each for _, each in instances):
            raise InvalidInputError(f"solvers: none of them takes {', '.join(families)}")
        known = {str(task.key): task.payload["plan"] for task in ledger.tasks() if "plan" in task.payload}
        for done, (instance, names) in enumerate(instances):
            if progress is not None:
                progress("certified optima", done, len(instances))
            keys = list(_keys(instance, names, accuracies))
            if all(str(key) in known for key in keys):
                continue
            payload: dict[str, Any] = {"plan": get_family(instance.family).plan(instance)}
            if profiles is not None:
                payload["profiles"] = str(Path(profiles).resolve())
            added += ledger.add((key, payload) for key in keys)
        if progress is not None:
            progress("certified optima", len(instances), len(instances))
    return added


def roads(family: str, solvers: Sequence[str] | None) -> list[str]:
    """The roads among `solvers` that lead to a family's programs; None: all.

    Raises
    ------
    UnknownSolverError
        If a name is none of a profile's.
    """
    kind = get_family(family)
    capable = [name for name, profile in load_profiles().items() if kind.problem_class in profile.problem_classes]
    search = [SEARCH] if kind.search else []
    direct = [DIRECT + name for name in capable] if kind.direct else []
    if solvers is None:
        return search + capable + [name for name in direct if name.removeprefix(DIRECT) in callable_directly()]
    known = search + capable + direct
    for name in solvers:
        if name != SEARCH:
            get_profile(name.removeprefix(DIRECT))
    return [name for name in solvers if name in known]


def _keys(instance: Instance, names: Sequence[str], accuracies: Sequence[str]) -> Iterator[dict[str, Any]]:
    for name in names:
        for accuracy in accuracies:
            yield {
                "family": instance.family,
                "size": instance.size,
                "seed": instance.seed,
                "solver": name,
                "accuracy": accuracy,
            }
