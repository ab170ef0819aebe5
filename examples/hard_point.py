"""
A hard point, while it is being solved
======================================

With more neighbours an exact radius is a combinatorial problem: *which* of them change?  A branch and bound answers it.
At any time its least open bound is a proven lower bound on the radius, and the nearest witness so far is an upper one;
whenever it is stopped, an interval is left.  What does it know after how long?
"""

import time
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import convexrml

HARD = 186  # of the first 200 test images, the one that takes most nodes with nine neighbours

# %%
# A search that is stopped after n nodes is the beginning of one that goes on.  So we ask again and again, each time for
# twice as many nodes, until the interval is closed.


def main(picture: Path = Path("hard_point.png")) -> None:
    X, y = load_digits(return_X_y=True)
    X_train, X_test, y_train, y_test = train_test_split(X / 16, y, test_size=0.3, random_state=0, stratify=y)
    model = convexrml.NearestNeighbors(n_neighbors=9).fit(X_train, y_train)
    z, t = X_test[HARD : HARD + 1], y_test[HARD : HARD + 1]

    print(f"{'nodes':>7} {'seconds':>8} {'lower':>8} {'upper':>8} {'width':>7}  status")
    convexrml.exact_radius(model, z, t, node_limit=1)  # loads the compiled kernels, which shall not count
    limit, steps = 1, []
    while not steps or not steps[-1][1].status[0].closed:
        start = time.perf_counter()
        found = convexrml.exact_radius(model, z, t, node_limit=limit)
        steps.append((time.perf_counter() - start, found))
        seconds, lower, upper = steps[-1][0], found.lower[0], found.upper[0]
        print(
            f"{found.solves[0]:7} {seconds:8.3f} {lower:8.5f} {upper:8.5f} {1 - lower / upper:7.1%}"
            f"  {found.status[0].name}"
        )
        limit *= 2

    seconds, lower, upper = np.array([(seconds, found.lower[0], found.upper[0]) for seconds, found in steps]).T
    seconds = np.minimum.accumulate(seconds[::-1])[::-1]  # the beginning of a search takes no longer than the search
    figure = Figure(figsize=(6, 3.6), dpi=120, layout="constrained")
    axes = figure.subplots()
    axes.fill_between(seconds, lower, upper, step="post", color="0.9", lw=0)
    axes.step(seconds, upper, where="post", color="#D55E00", label="nearest witness so far")
    axes.step(seconds, lower, where="post", color="#0072B2", label="proven lower bound")
    axes.plot(seconds[-1], upper[-1], "o", color="black", label=f"exact radius {found.radius[0]:.4f}")
    axes.set(xscale="log", xlabel="time on one core (s)", ylabel="radius (ℓ2, pixels in [0, 1])")
    axes.set_xticks([0.02, 0.05, 0.1, 0.2, 0.5, 1], labels=["0.02", "0.05", "0.1", "0.2", "0.5", "1"])
    axes.set_xticks([], minor=True)
    axes.legend(frameon=False, loc="lower right")
    figure.savefig(picture)


if __name__ == "__main__":
    main()

# %%
# The first witness is 1.4 % above the radius, and the nearest until the end: what takes long is the proof.
# Half of the interval is gone after an eighth of the nodes.  So a limit (``node_limit=1000``, or ``time_limit=1.0``
# seconds for each point) costs precision, never truth.
