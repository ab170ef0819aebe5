"""
A constraint of your own
========================

Which perturbations are plausible is for you to say.  A program like
:class:`convexrml.formulations.MinimalPerturbation` holds a cvxpy problem, there to be extended: here by one line, after
which images can only be changed in blocks of 2 × 2 pixels, as by a brush that is no finer.  What is the least change of
that kind that alters the answer?
"""

from pathlib import Path

import cvxpy as cp
import numpy as np
from matplotlib.figure import Figure
from sklearn.datasets import load_digits

import convexrml

BLOCKS = np.kron(np.eye(4), np.ones((2, 1)))  # (8, 4): two rows for each row of blocks

# %%
# The radius is a minimum over all negatives j, one program each.  Without the new constraint each has a lower bound in
# closed form, t_ij for the best positive i.  It holds with the constraint all the more.  So negatives are visited in
# the order of their bounds, and once a bound exceeds the best perturbation nothing is left to be solved.


def least_in_blocks(model, z, label):
    """The least perturbation in blocks that changes the answer, and for how many negatives it was solved."""
    scores, sites, own = model.scores([z])[0], model.sites_, model.classes_[model.labels_] == label
    bounds = {
        j: ((scores[j] - scores[own]) / (2 * np.linalg.norm(sites[own] - sites[j], axis=1))).max()
        for j in np.flatnonzero(~own)
    }
    order = sorted(bounds, key=bounds.get)
    program = convexrml.formulations.MinimalPerturbation(model, z, label, negative=order[0])
    in_blocks = program.perturbation == cp.vec(BLOCKS @ cp.Variable((4, 4)) @ BLOCKS.T, order="C")
    problem = cp.Problem(program.problem.objective, [*program.problem.constraints, in_blocks])
    best, radius, solved = None, np.inf, 0
    while bounds[order[solved]] < radius:
        program.pose(negative=order[solved])  # sets parameters; nothing is compiled again
        problem.solve(solver="CLARABEL")
        delta, solved = program.perturbation.value, solved + 1
        if problem.status == "optimal" and np.linalg.norm(delta) < radius:
            best, radius = delta, np.linalg.norm(delta)
    return best, solved


def main(picture: Path = Path("a_constraint_of_your_own.png")) -> None:
    X, y = load_digits(return_X_y=True)
    X = X / 16
    model = convexrml.NearestNeighbors().fit(X[100:], y[100:])
    figure = Figure(figsize=(6, 4), dpi=120, layout="constrained")
    print(f"{'image':>6} {'any':>8} {'in blocks':>9} {'ratio':>6} {'programs':>9}")
    for row, query in zip(figure.subplots(2, 3), (8, 15), strict=True):
        z, label = X[query], y[query]
        free = convexrml.exact_radius(model, [z], [label])
        delta, solved = least_in_blocks(model, z, label)
        radius = np.linalg.norm(delta)
        print(f"{query:6} {free.radius[0]:8.4f} {radius:9.4f} {radius / free.radius[0]:6.3f} {solved:9}")
        row[0].imshow(z.reshape(8, 8), cmap="gray_r", vmin=0, vmax=1)
        row[0].set_title(f"a {label}", fontsize=9)
        for axes, what, step in zip(row[1:], ("any", "in blocks"), (free.perturbation[0], delta), strict=True):
            answer = model.predict([z + 1.001 * step])[0]
            axes.imshow(step.reshape(8, 8), cmap="RdBu_r", vmin=-0.3, vmax=0.3)
            axes.set_title(f"{what}: {np.linalg.norm(step):.3f}, then a {answer}", fontsize=9)
        for axes in row:
            axes.set_axis_off()
    figure.savefig(picture)


if __name__ == "__main__":
    main()

# %%
# Red is ink that is added, blue what is taken away.  The coarse change has to be half as large again.  It is the least
# as far as Clarabel's word goes: what is proved of the extended program is that its radius is no smaller than ``any``,
# and that the classifier gives another answer just beyond.  Whatever a box can say (``box=``: pixels that may not
# change, a range that may not be left) needs no program of your own, and is proved from both sides.
