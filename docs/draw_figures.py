"""The figures of the documentation, drawn by the library itself: ``python docs/draw_figures.py``."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Circle, Polygon
from numpy.typing import NDArray
from PIL import Image
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.model_selection import train_test_split
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline

import convexrml
from convexrml.formulations import MinimalPerturbation

Array = NDArray[Any]

# Okabe and Ito's palette, which colour-blind readers tell apart; pale versions fill regions.
BLUE, ORANGE, GREEN, PURPLE, BLACK, GREY = "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#000000", "#999999"
PALE = {"a": "#CFE6F5", "b": "#FBE3D3"}
STRONG = {"a": BLUE, "b": ORANGE}
HALO = {"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 1.0}

# Fourteen points of two classes, and one query at which the three radii are well apart.
POINTS = np.array(
    [
        [7.0, 6.5], [1.9, 0.5], [9.6, 7.3], [3.9, 0.9], [9.2, 0.4], [8.5, 3.8], [5.1, 5.3],
        [0.1, 5.5], [1.4, 2.2], [9.8, 3.1], [7.3, 0.3], [7.2, 1.9], [3.5, 9.1], [5.5, 8.6],
    ]
)  # fmt: skip
LABELS = np.array(list("bbabbbbaaabbab"))
QUERY = np.array([5.9, 3.6])
TURN = np.array([[0.8, -0.6], [0.6, 0.8]])  # a rotation


def draw_all(folder: Path) -> list[Path]:
    """Draw every figure into a folder; the files written."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for name, draw in FIGURES.items():
        paths.append(folder / f"{name}.png")
        drawn = io.BytesIO()
        draw().savefig(drawn, dpi=110)
        Image.open(drawn).convert("RGB").quantize(64).save(paths[-1], optimize=True)  # flat colours need no more
    return paths


def canvas(panels: int, width: float, height: float) -> tuple[Figure, list[Axes]]:
    """A figure with some panels side by side, without pyplot's global state."""
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure, list(np.atleast_1d(figure.subplots(1, panels)))


def lattice(span: tuple[float, float, float, float], n: int = 401) -> tuple[Array, Array, Array]:
    """The coordinates of n × n points over ``(left, right, bottom, top)``, and the points as rows."""
    x, y = np.meshgrid(np.linspace(*span[:2], n), np.linspace(*span[2:], n))
    return x, y, np.column_stack([x.ravel(), y.ravel()])


def vote_margin(model: convexrml.NearestNeighbors, P: Array, label: str) -> Array:
    """Positive where the label keeps the majority: s-th nearest score of the others less the s-th of its own."""
    s = (model.n_neighbors + 1) // 2
    scores, own = model.scores(P), model.classes_[model.labels_] == label
    return np.sort(scores[:, ~own], axis=1)[:, s - 1] - np.sort(scores[:, own], axis=1)[:, s - 1]


def draw_classifier(
    axes: Axes, model: convexrml.NearestNeighbors, span: tuple[float, float, float, float], *, cells: bool = False
) -> None:
    """Shade what the classifier answers, with the cells of single training points if asked for."""
    x, y, P = lattice(span)
    margin = vote_margin(model, P, "b").reshape(x.shape)
    axes.contourf(x, y, margin, levels=[-np.inf, 0, np.inf], colors=[PALE["a"], PALE["b"]])
    if cells:
        scores = model.scores(P)
        for i in range(scores.shape[1]):
            others = np.delete(scores, i, axis=1).min(axis=1)
            axes.contour(x, y, (others - scores[:, i]).reshape(x.shape), levels=[0], colors="white", linewidths=1.0)
    axes.contour(x, y, margin, levels=[0], colors=GREY, linewidths=1.4)
    for label in "ab":
        own = model.training_points_[model.classes_[model.labels_] == label]
        axes.scatter(*own.T, s=34, marker="o" if label == "b" else "s", color=STRONG[label], zorder=4)
    axes.set(xlim=span[:2], ylim=span[2:], aspect="equal", xticks=[], yticks=[])


def draw_query(axes: Axes, z: Array, name: str = "z") -> None:
    """The query, as a cross with its name."""
    axes.plot(*z, marker="x", color=BLACK, ms=8, mew=2.2, zorder=6)
    axes.annotate(name, z, xytext=(-11, 5), textcoords="offset points", fontsize=12, style="italic", zorder=6)


def ball(axes: Axes, z: Array, radius: float, color: str, *, norm: float = 2, style: Any = "-") -> None:
    """The ball around z in ℓ1, ℓ2 or ℓ∞."""
    if norm == 2:
        axes.add_patch(Circle(tuple(z), radius, fill=False, ec=color, lw=1.8, ls=style, zorder=3))
        return
    corners = np.array([[1, 0], [0, 1], [-1, 0], [0, -1]] if norm == 1 else [[1, 1], [-1, 1], [-1, -1], [1, -1]])
    axes.add_patch(Polygon(z + radius * corners, fill=False, ec=color, lw=1.8, ls=style, zorder=3))


def mark(axes: Axes, point: Array, color: str, marker: str = "*") -> None:
    """A witness."""
    axes.plot(*point, marker=marker, ms=13 if marker == "*" else 8, color=color, mec="white", mew=0.8, zorder=7)


def power_diagram() -> Figure:
    """One query among the cells of 1-NN: certified ball, exact ball with its witness, attack."""
    model = convexrml.NearestNeighbors().fit(POINTS, LABELS)
    z, y = QUERY[None], ["b"]
    certified = convexrml.certified_radius(model, z, y).lower[0]
    exact, attack = convexrml.exact_radius(model, z, y), convexrml.attack_radius(model, z, y, n_targets=1)
    figure, (axes,) = canvas(1, 6.6, 5.0)
    draw_classifier(axes, model, (0, 10.6, -0.4, 9.6), cells=True)
    ball(axes, QUERY, certified, GREEN, style="--")
    ball(axes, QUERY, exact.radius[0], BLACK)
    ball(axes, QUERY, attack.upper[0], PURPLE, style=":")
    mark(axes, QUERY + exact.perturbation[0], BLACK)
    mark(axes, QUERY + attack.perturbation[0], PURPLE)
    draw_query(axes, QUERY)
    entries = [
        axes.plot([], [], color=GREEN, ls="--", lw=1.8, label=f"certified radius {certified:.3f}\n(closed form)")[0],
        axes.plot([], [], color=BLACK, lw=1.8, marker="*", label=f"exact radius {exact.radius[0]:.3f}\n(★ witness)")[0],
        axes.plot([], [], color=PURPLE, ls=":", lw=1.8, marker="*", label=f"attack radius {attack.upper[0]:.3f}")[0],
        axes.scatter([], [], marker="s", color=BLUE, label="class a"),
        axes.scatter([], [], marker="o", color=ORANGE, label="class b"),
    ]
    figure.legend(handles=entries, loc="outside right center", fontsize=9, frameon=False)
    return figure


def one_negative() -> Figure:
    """The program of one negative: best single half-space, the polytope and its projection, the certificate."""
    model = convexrml.NearestNeighbors().fit(POINTS, LABELS)
    exact = convexrml.exact_radius(model, QUERY[None], ["b"])
    certified = convexrml.certified_radius(model, QUERY[None], ["b"])
    program = MinimalPerturbation(model, QUERY, "b", negative=int(exact.negative[0]))
    h, positives = program.half_spaces, program.positives.tolist()
    A, b = h.sites - h.site, h.gaps  # ⟨A_i, δ⟩ ≤ b_i
    binding = [positives.index(i) for i in exact.positives[0]]
    best, (lam, delta) = positives.index(certified.positive[0]), (exact.multipliers[0], exact.perturbation[0])
    proved = h.weak_duality(np.bincount(binding, lam, len(b)))
    mean, side = lam @ A[binding], lam @ b[binding]
    mix = "weights " + " and ".join(f"{weight:.2f} on $x_{name}$" for weight, name in zip(lam, "12", strict=True))
    panels = [
        (A[[best]], b[[best]], A[best] * b[best] / (A[best] @ A[best]), GREEN,
         f"nearer to $x_j$ than to $x_{1 + binding.index(best)}$\ntriplet bound {certified.lower[0]:.3f}"),
        (A, b, delta, BLACK, f"nearer to $x_j$ than to every $x_i$\nexact radius {exact.radius[0]:.3f}"),
        (mean[None], np.array([side]), delta, GREEN, f"{mix}\nproves a radius of {proved:.3f}"),
    ]  # fmt: skip
    figure, axes_of = canvas(3, 10.2, 3.9)
    span = (-5.6, 2.6, -4.1, 4.1)
    x, y, D = lattice(span)
    for place, (axes, (rows, sides, foot, color, title)) in enumerate(zip(axes_of, panels, strict=True)):
        inside = (D @ rows.T - sides).max(axis=1).reshape(x.shape)
        axes.contourf(x, y, inside, levels=[-np.inf, 0], colors=[PALE["a"]])
        for i in (binding, range(len(b)), binding)[place]:
            heavy = place != 1 or i in binding
            axes.contour(
                x, y, (D @ A[i] - b[i]).reshape(x.shape), levels=[0], colors=GREY, linewidths=1.3 if heavy else 0.5
            )
        axes.contour(x, y, inside, levels=[0], colors=color, linewidths=2.0)
        ball(axes, np.zeros(2), float(np.linalg.norm(foot)), color, style="--")
        arrow = {"arrowstyle": "-|>", "color": color, "lw": 1.8, "shrinkA": 0, "shrinkB": 0, "mutation_scale": 16}
        axes.annotate("", foot, (0, 0), arrowprops=arrow, zorder=5)
        for i, name in zip(binding, "12", strict=True):
            at = model.training_points_[positives[i]] - QUERY
            axes.plot(*at, "o", color=ORANGE, ms=7)
            axes.annotate(f"$x_{name}$", at, xytext=(6, -3), textcoords="offset points", fontsize=11)
        at = model.training_points_[exact.negative[0]] - QUERY
        axes.plot(*at, "s", color=BLUE, ms=7)
        axes.annotate("$x_j$", at, xytext=(-4, -15), textcoords="offset points", fontsize=11)
        draw_query(axes, np.zeros(2))
        axes.set(xlim=span[:2], ylim=span[2:], aspect="equal", xticks=[], yticks=[])
        axes.set_title(title, fontsize=10.5)
    return figure


def three_neighbours() -> Figure:
    """A majority of three: two negatives join the nearest three, one positive is excused."""
    model = convexrml.NearestNeighbors(n_neighbors=3).fit(POINTS, LABELS)
    z = np.array([6.0, 4.0])
    exact = convexrml.exact_radius(model, z[None], ["b"], vote="majority")
    certified = convexrml.certified_radius(model, z[None], ["b"]).lower[0]
    witness = z + exact.perturbation[0]
    figure, (axes,) = canvas(1, 6.6, 5.0)
    draw_classifier(axes, model, (-0.4, 10.6, -0.4, 9.6))
    for i in model.kneighbors(witness[None])[0]:
        axes.plot(*np.stack([witness, POINTS[i]]).T, color=STRONG[LABELS[i]], lw=1.4, zorder=3)
    ball(axes, z, certified, GREEN, style="--")
    ball(axes, z, exact.radius[0], BLACK)
    mark(axes, witness, BLACK)
    draw_query(axes, z)
    entries = [
        axes.plot([], [], color=GREEN, ls="--", lw=1.8, label=f"certified radius {certified:.3f}\n(closed form)")[0],
        axes.plot([], [], color=BLACK, lw=1.8, marker="*", label=f"exact radius {exact.radius[0]:.3f}\n(★ witness)")[0],
        axes.plot([], [], color=BLUE, lw=1.4, label="negatives among the\nthree nearest to ★")[0],
        axes.plot([], [], color=ORANGE, lw=1.4, label="the positive that\nis excused")[0],
    ]
    figure.legend(handles=entries, loc="outside right center", fontsize=9, frameon=False)
    return figure


def norms() -> Figure:
    """Exact radii of one query in three norms, each with its witness."""
    model = convexrml.NearestNeighbors().fit(POINTS, LABELS)
    z = np.array([6.25, 4.0])
    figure, (axes,) = canvas(1, 6.6, 5.0)
    draw_classifier(axes, model, (0, 10.6, -0.4, 9.6))
    entries = []
    for norm, name, color, style in ((1, "1", GREEN, "--"), (2, "2", BLACK, "-"), (np.inf, "∞", PURPLE, "-.")):
        exact = convexrml.exact_radius(model, z[None], ["b"], norm=norm)
        ball(axes, z, exact.radius[0], color, norm=norm, style=style)
        mark(axes, z + exact.perturbation[0], color)
        label = f"ℓ{name}: exact radius {exact.radius[0]:.3f}"
        entries += axes.plot([], [], color=color, ls=style, lw=1.8, marker="*", label=label)
    draw_query(axes, z)
    figure.legend(handles=entries, loc="outside right center", fontsize=9, frameon=False)
    return figure


def two_stripes(draw: np.random.Generator, n: int) -> tuple[Array, Array]:
    """Points of two classes that differ across one direction, spread widely along the other."""
    y = np.where(np.arange(n) % 2 == 0, "a", "b")
    across, along = np.where(y == "a", 0.8, -0.8) + 0.3 * draw.normal(size=n), draw.uniform(-3, 3, n)
    return np.column_stack([across, along]) @ TURN.T, y


def learned_metric() -> Figure:
    """Two classes and few points: exact balls of the same queries before and after learning, and robust errors."""
    draw = np.random.default_rng(4)
    (X, y), (Z, t) = two_stripes(draw, 20), two_stripes(draw, 400)
    shown = np.array([[side, at] for side in (0.9, -0.9) for at in (-2.2, -0.8, 0.6, 2.0)]) @ TURN.T
    learner = convexrml.RobustMetricLearner(strength=0.03).fit(X, y)
    figure, (*panels, curves) = canvas(3, 10.2, 3.6)
    for axes, metric, name, color in (
        (panels[0], None, "Euclidean", GREY), (panels[1], learner.get_mahalanobis_matrix(), "learned", BLACK)
    ):  # fmt: skip
        model = convexrml.NearestNeighbors(metric=metric).fit(X, y)
        draw_classifier(axes, model, (-3.4, 3.4, -3.4, 3.4))
        for z, radius in zip(shown, convexrml.exact_radius(model, shown, list("aaaabbbb")).radius, strict=True):
            ball(axes, z, radius, BLACK)
            axes.plot(*z, "x", color=BLACK, ms=5)
        axes.set_title(f"{name} metric", fontsize=10.5)
        radii = np.sort(convexrml.exact_radius(model, Z, t).radius)
        curves.step(radii, np.arange(1, len(Z) + 1) / len(Z), where="post", color=color, lw=2, label=name)
    curves.set(xlim=(0, 1.6), ylim=(0, 1), xlabel="ε (ℓ2, units of the features)")
    curves.set_title("exact robust error of 400 test points", fontsize=10.5)
    curves.legend(frameon=False, fontsize=9)
    curves.spines[["top", "right"]].set_visible(False)
    return figure


def robust_error() -> Figure:
    """The curves of the page that certifies a classifier in five lines."""
    X, Z, y, t = train_test_split(*load_digits(return_X_y=True), test_size=100, random_state=0)
    model = convexrml.from_estimator(make_pipeline(PCA(20), KNeighborsClassifier(3)).fit(X, y), X)
    epsilon = np.linspace(0, 20, 401)
    figure, (axes,) = canvas(1, 6.0, 4.0)
    for lower, style, color, name in (
        (convexrml.certified_radius(model, Z, t).lower, "--", BLUE, "certified, closed form"),
        (convexrml.exact_radius(model, Z, t).lower, "-", BLACK, "exact"),
    ):
        axes.plot(epsilon, (lower[:, None] <= epsilon).mean(axis=0), style, color=color, label=name)
    axes.set(xlabel="ε (ℓ2, pixels from 0 to 16)", ylabel="robust error", ylim=(0, 1))
    axes.legend(frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    return figure


FIGURES = {
    draw.__name__: draw for draw in (power_diagram, one_negative, three_neighbours, norms, learned_metric, robust_error)
}

if __name__ == "__main__":
    for written in draw_all(Path(__file__).resolve().parent / "figures"):
        print(written.name, written.stat().st_size)
