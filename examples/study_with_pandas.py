"""
A study, and its results as a DataFrame
=======================================

A study is a table of robust errors that takes a while: some data sets, under some metrics, asked some questions.  A
file describes it, its results go to one SQLite file, and it may be killed at any moment: run again, it goes on.  From
Python the results are a DataFrame with a row for each test point; that needs the extra ``pandas``:
``pip install 'convexrml[pandas]'``.
"""

import tempfile
from pathlib import Path

import convexrml

# %%
# As ``convexrml study run`` takes it.  Radii are proven from both sides, and for one neighbour each comes with a
# certificate that is checked in exact arithmetic.

STUDY = """
format = 1
title = "Two small data sets"

[[data]]
name = "wine"

[[data]]
name = "breast_cancer"

[[metric]]
name = "Euclidean"

[[metric]]
name = "learned"
method = "robust"

[[question]]
roads = ["certified", "exact", "attack"]
certificates = true

[[question]]
n_neighbors = 5
roads = ["certified", "exact", "attack"]
"""


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        plan, results = Path(folder, "study.toml"), Path(folder, "study.db")
        plan.write_text(STUDY, encoding="utf-8")
        print(convexrml.run_study(plan, results).sentence)
        points = convexrml.read_outcome(plan, results).to_frame()

    assert (points.certified_lower <= points.exact_upper).all() and (points.exact_lower <= points.attack_upper).all()
    print(f"{len(points)} radii, {points.certificate_accepted.eq(True).sum()} certificates accepted")
    points = points.assign(wrong=points.exact_upper == 0, certified_share=points.certified_lower / points.exact_lower)
    table = points.groupby(["data", "n_neighbors", "metric"]).agg(
        clean_error=("wrong", "mean"),
        median_radius=("exact_lower", "median"),
        certified_over_exact=("certified_share", "mean"),
    )
    print(table.round(3).to_string())


if __name__ == "__main__":
    main()

# %%
# Every radius is in the frame behind this table, with its bounds from all roads, its status and its certificate's
# verdict; the last column says how tight the closed form is.  ``convexrml study report`` writes pages and pictures from
# the same results.  The file may ask for more later: what is known is not computed again.
