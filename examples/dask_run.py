"""
Radii on a Dask cluster
=======================

The search goes through joblib, as scikit-learn does: inside ``joblib.parallel_config`` the same call runs on a cluster,
with the same result, bit by bit.  Here the cluster is two threads of this process, which is soon started; with the
address of a scheduler, ``Client("tcp://...")``, it is as many machines as you have.  Dask comes with an extra:
``pip install 'convexrml[dask]'``.
"""

import time

import joblib
import numpy as np
from distributed import Client
from sklearn.datasets import make_blobs

import convexrml

# %%
# The training set goes to each worker once, the queries in batches; ``progress`` hears of every batch that comes back.


def main() -> None:
    X, y = make_blobs(6000, n_features=10, centers=12, cluster_std=4.0, random_state=0)
    model = convexrml.NearestNeighbors().fit(X[::2], y[::2])
    Z, t = X[1::2], y[1::2]

    print(f"{'where':>18} {'batches':>8} {'seconds':>8} {'median radius':>14}")

    def timed(where):
        batches, start = [], time.perf_counter()
        found = convexrml.exact_radius(model, Z, t, progress=batches.append)
        seconds = time.perf_counter() - start
        print(f"{where:>18} {len(batches):8} {seconds:8.2f} {np.median(found.radius):14.6f}")
        return found

    convexrml.exact_radius(model, Z[:9], t[:9])  # loads the compiled kernels, which shall not count
    here = timed("this process")
    with Client(processes=False, n_workers=1, threads_per_worker=2, dashboard_address=":0"):
        with joblib.parallel_config(backend="dask"):
            there = timed("two Dask threads")
    print("same bits:", np.array_equal(here.lower, there.lower) and np.array_equal(here.upper, there.upper))


if __name__ == "__main__":
    main()

# %%
# So few points are done before a cluster is at work; the result is what counts here.  A worker that dies loses
# nothing: what it was at is done again by another.
