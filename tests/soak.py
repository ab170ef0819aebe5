"""Random small instances by the million: the judge, with certificates that integers check, on every one of them.

``python tests/soak.py --instances 1000000 --seed 0 --jobs 2`` draws instance number i always from the seed and i
alone (the same degenerate kinds as ``fuzz_search.py``, with 1, 3 or 5 neighbours), and lets the judge compare
certified, exact and attack radii without any tolerance.  Every certified radius and every exact interval is also made
into a certificate, which the checker has to accept in exact arithmetic.  A fault ends the run's success; its number
replays it.
"""

import argparse
import collections
import dataclasses
import multiprocessing
import sys
import time
import warnings

import numba
import numpy as np
from fuzz_search import drawn

from convexrml import MahalanobisMetric, NearestNeighbors, Verdict, certified_radius, crosscheck
from convexrml.checker import Rejected, check
from convexrml.evidence import Prover

_AT_ONCE = 200


def soaked(seed, number):
    """Counts of one instance, and what was violated."""
    rng = np.random.default_rng([seed, number, 1])
    instance = drawn(seed, number, sizes=(2, 12))
    k = int(rng.choice([k for k in (1, 1, 1, 3, 5) if k <= len(instance.X)]))
    vote = str(rng.choice(["plurality", "majority"]))
    norm = 2 if k > 1 else instance.norm
    metric = None
    if instance.M is not None:
        metric = MahalanobisMetric.from_matrix(instance.M)
    elif instance.L is not None:
        metric = MahalanobisMetric.from_components(instance.L)
    model = NearestNeighbors(k, metric).fit(instance.X, instance.y)
    ask = (model, instance.Z, instance.labels)
    counts, faults = collections.Counter(instances=1, queries=len(instance.Z)), []
    report = crosscheck(*ask, norms=(norm,), boxes=(instance.box,), vote=vote, solvers=("search",))
    counts.update({verdict.name: report.count(verdict) for verdict in Verdict})
    faults += [f"instance {number} [{instance.kind}], k={k}, {vote}: {violation}" for violation in report.violations]
    certified = certified_radius(*ask, norm=norm)
    for a, made in enumerate(Prover(model).certificates(instance.Z, instance.labels, certified)):
        counts["certified radii in exact arithmetic"] += 1
        try:
            check(made.to_bytes(), model.exact)
        except Rejected as reason:
            faults.append(f"instance {number} [{instance.kind}], k={k}: certified radius of query {a}: {reason}")
        if made.lower < certified.lower[a]:
            faults.append(
                f"instance {number} [{instance.kind}], k={k}: only {made.lower!r} is proved of the certified radius "
                f"{certified.lower[a]!r} of query {a}"
            )
    return counts, faults


@dataclasses.dataclass(frozen=True)
class _Batch:
    seed: int

    def __call__(self, start_stop):
        warnings.simplefilter("ignore")
        numba.set_num_threads(1)
        counts, faults = collections.Counter(), []
        for number in range(*start_stop):
            try:
                more, wrong = soaked(self.seed, number)
            except Exception as error:  # a crash is a fault like any other
                more, wrong = collections.Counter(instances=1), [f"instance {number}: {type(error).__name__}: {error}"]
            counts += more
            faults += wrong
        return counts, faults


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--instances", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first", type=int, default=0, help="number of the first instance")
    parser.add_argument("--jobs", type=int, default=1)
    asked = parser.parse_args(argv)
    stop = asked.first + asked.instances
    batches = [(at, min(at + _AT_ONCE, stop)) for at in range(asked.first, stop, _AT_ONCE)]
    started, told, counts, faults = time.perf_counter(), 0.0, collections.Counter(), []
    with multiprocessing.get_context("spawn").Pool(asked.jobs) as pool:
        for more, wrong in pool.imap_unordered(_Batch(asked.seed), batches):
            counts += more
            faults += wrong
            for fault in wrong:
                print(fault, flush=True)
            seconds = time.perf_counter() - started
            if seconds > told + 30:
                told = seconds
                print(f"{counts['instances']}/{asked.instances} in {seconds:.0f} s, {len(faults)} faults", flush=True)
    for name, count in sorted(counts.items()):
        print(f"{name}: {count}")
    print(f"faults: {len(faults)} in {time.perf_counter() - started:.0f} s")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
