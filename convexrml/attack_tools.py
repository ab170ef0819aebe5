"""Attacks by other people's tools: foolbox's and ART's decision-based attacks, handed the classifier as a black box."""

from __future__ import annotations

import contextlib
import dataclasses
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from convexrml.attack_settings import ToolAttack
from convexrml.errors import UnsupportedError
from convexrml.neighbors import NearestNeighbors
from convexrml.norms import Box, Norm, as_box, as_norm, require_inside
from convexrml.results import AttackRadii
from convexrml.votes import Vote, as_vote
from convexrml.witness import first_mislabelled, witnessed_norms

_STARTS = 64  # near training points tried as the start of a query's attack
_LONGER = 1 + np.concatenate([[0.0], 10.0 ** np.arange(-15.0, -5.0)])  # of the perturbation, against rounding

_GENERATOR = threading.Lock()

_Decide = Callable[[Any], NDArray[np.float32]]


@dataclasses.dataclass(frozen=True, eq=False)
class _Target:
    """What a tool is given to attack: the classifier as a black box, and queries and starts in the unit cube."""

    decide: _Decide
    n_classes: int
    labels: NDArray[np.int64]
    Z: NDArray[np.float64]
    starts: NDArray[np.float64]


def tool_attack_radius(
    model: NearestNeighbors,
    Z: ArrayLike,
    y: ArrayLike,
    *,
    tool: str = "foolbox",
    attack: str | None = None,
    options: Mapping[str, Any] | None = None,
    norm: float | str | Norm = 2,
    box: tuple[float, float] | Box | None = None,
    vote: str | Vote = Vote.PLURALITY,
    seed: int = 0,
) -> AttackRadii:
    """Attack radius at each query by a decision-based attack of foolbox or ART: they see labels, and nothing else.

    Each attack starts at the nearest training point that the classifier itself labels otherwise.  What the tool returns
    is believed as far as it is mislabelled by the classifier's own scores and in exact arithmetic, ties counting
    against the label (where rounding alone spoils that, the perturbation is made longer by a factor of at most 1 +
    1e-6).

    **Guarantee**: an upper bound on the exact radius, with its witness: whatever the tool does.

    Parameters
    ----------
    model : NearestNeighbors
        Fitted; any odd number of neighbours.
    Z : (n, d) array
        Queries.
    y : (n,) array
        Their true labels.
    tool : {"foolbox", "art"}, default "foolbox"
        Whose attack.
    attack : str, optional
        Name of a class in ``foolbox.attacks`` or ``art.attacks.evasion`` that attacks by decisions alone and takes
        starting points; default ``HopSkipJumpAttack``, ``HopSkipJump``.
    options : mapping, optional
        Arguments of that class, the tool's own defaults for what is left out (but HopSkipJump minimises the ℓ∞ norm
        where `norm` is inf, the ℓ2 norm otherwise).
    norm : {1, 2, inf}, default 2
        In which perturbations are measured, whatever the attack minimises.
    box : pair (lower, upper) of numbers, optional
        Perturbed points stay inside; the tools take one interval for all features.  Without it they are given the
        interval of all training points and queries, as wide again on both sides.
    vote : {"plurality", "majority"}, default "plurality"
        The vote that has to be lost.  The tools attack what the classifier says, the plurality; where that is lost,
        the majority is.
    seed : int, default 0
        The tools draw from numpy's global generator: it is seeded for the attack, and put back.

    Returns
    -------
    AttackRadii
        `upper` (n,), in the units of the input features, inf where nothing mislabelled was found, and 0 for a query
        that is mislabelled as it stands; `perturbation` (n, d), the witnesses.

    Raises
    ------
    ToolMissingError
        If the tool is not installed.
    InvalidInputError
        If an argument does not fit the training set, the box leaves a query out, or the tool has no such attack or
        option.
    UnsupportedError
        If the sides of the box differ between features.

    Notes
    -----
    HopSkipJump: J. Chen, M. I. Jordan, M. J. Wainwright, HopSkipJumpAttack: a query-efficient decision-based attack,
    IEEE Symposium on Security and Privacy 2020; in the tools' own implementations.
    """
    p = as_norm(norm)
    points = model.require_queries(Z)
    labels = model.encode(y, len(points))
    limits = as_box(box, model.n_features_in_)
    require_inside(limits, points)
    lost = as_vote(vote)
    asked = ToolAttack(tool, attack or "", dict(options or {}), seed)
    lower, width = _interval(model, points, limits)
    found = np.full(points.shape, np.nan)
    starts = np.full(points.shape, np.nan)
    for query, z in enumerate(points):
        if first_mislabelled(model, z, model.classes_[labels[query]], z[None], limits, lost) is not None:
            found[query] = z
        else:
            starts[query] = _start(model, z, int(labels[query]), limits)
    at = np.flatnonzero(np.isfinite(starts).all(axis=1))
    make = asked.maker(p)
    if len(at):
        run = {"foolbox": _by_foolbox, "art": _by_art}[tool]
        unit = ((part[at] - lower) / width for part in (points, starts))
        target = _Target(_decisions(model, lower, width), len(model.classes_), labels[at], *unit)
        with _seeded(seed):
            found[at] = lower + width * run(make, target)
    perturbation = np.full(points.shape, np.nan)
    for query in np.flatnonzero(np.isfinite(found).all(axis=1)).tolist():
        z, name = points[query], model.classes_[labels[query]]
        delta = first_mislabelled(model, z, name, z + _LONGER[:, None] * (found[query] - z), limits, lost)
        if delta is not None:
            perturbation[query] = delta
    return AttackRadii(np.nan_to_num(witnessed_norms(points, perturbation, p), nan=np.inf), perturbation, p, lost)


def _interval(model: NearestNeighbors, Z: NDArray[np.float64], box: Box | None) -> tuple[float, float]:
    """The lower end and the width of the interval that the tools are given for all features."""
    if box is None:
        ends = np.array([model.training_points_.min(), Z.min(), model.training_points_.max(), Z.max()])
        width = float(np.ptp(ends)) or 1.0
        return float(ends.min()) - width, 3 * width
    lower, upper = float(box.lower[0]), float(box.upper[0])
    if not ((box.lower == lower).all() and (box.upper == upper).all() and np.isfinite([lower, upper]).all()):
        raise UnsupportedError("box: attack tools take one finite interval for all features; give two numbers")
    return lower, (upper - lower) or 1.0


def _start(model: NearestNeighbors, z: NDArray[np.float64], label: int, box: Box | None) -> NDArray[np.float64]:
    """The nearest training point, inside the box, that the classifier labels otherwise; NaN if none is near."""
    others = model.labels_ != label
    if box is not None:
        others &= box.contains(model.training_points_)
    at = np.flatnonzero(others)
    near = at[np.argsort(model.scores(z[None])[0][at], kind="stable")[:_STARTS]]
    if len(near) == 0:
        return np.full(len(z), np.nan)
    points = model.training_points_[near]
    wrong = model.predict(points) != model.classes_[label]
    return points[np.argmax(wrong)] if wrong.any() else np.full(len(z), np.nan)


def _decisions(model: NearestNeighbors, lower: float, width: float) -> _Decide:
    """The classifier as the tools want it, as a function on the unit cube: 1 for the label predicted, 0 for others.

    Foolbox 3.3.4 clips to the unit cube in HopSkipJump, whatever the bounds, and then never ends.
    """

    def decide(points: Any) -> NDArray[np.float32]:
        predicted = model.predict(lower + width * np.asarray(points, dtype=np.float64))
        return (predicted[:, None] == model.classes_).astype(np.float32)

    return decide


def _by_foolbox(make: Callable[..., Any], target: _Target) -> NDArray[np.float64]:
    import foolbox
    from eagerpy.astensor import astensor
    from foolbox.models.numpy import NumPyModel

    blackbox = NumPyModel(target.decide, bounds=(0, 1), data_format="channels_first")
    criterion = foolbox.criteria.Misclassification(astensor(target.labels))
    attacked = make().run(blackbox, astensor(target.Z), criterion, starting_points=astensor(target.starts))
    return np.asarray(attacked.raw, dtype=np.float64)


def _by_art(make: Callable[..., Any], target: _Target) -> NDArray[np.float64]:
    from art.estimators.classification import BlackBoxClassifier

    n = target.n_classes
    blackbox = BlackBoxClassifier(target.decide, input_shape=target.Z.shape[1:], nb_classes=n, clip_values=(0, 1))
    attacked = make(blackbox).generate(target.Z, y=np.eye(n)[target.labels], x_adv_init=target.starts)
    return np.asarray(attacked, dtype=np.float64)


@contextlib.contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Numpy's global generator, which is all that the tools draw from, seeded and put back; one thread at a time."""
    with _GENERATOR:
        state = np.random.get_state()  # noqa: NPY002
        np.random.seed(seed)  # noqa: NPY002
        try:
            yield
        finally:
            np.random.set_state(state)  # noqa: NPY002
