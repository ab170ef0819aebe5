"""Certify a classifier on a data set: closed-form and exact radii of its test points, and the judge on a sample."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convexrml import profiles
from convexrml.attacks import attack_radius
from convexrml.bounds import certified_radius
from convexrml.errors import CrossCheckInterrupted, InvalidInputError, SearchInterrupted, UnsupportedError
from convexrml.exact import exact_radius
from convexrml.judge import SEARCH, Roads, crosscheck, default_solvers
from convexrml.metric import MahalanobisMetric
from convexrml.neighbors import NearestNeighbors
from convexrml.norms import Norm, as_box, as_norm
from convexrml.results import AttackRadii, CertifiedRadii, ExactRadii, selected
from convexrml.study.clock import Clock, Progress
from convexrml.study.data import DataSet
from convexrml.validation import whole_number
from convexrml.verdicts import CrossCheckReport
from convexrml.versions import versions
from convexrml.votes import as_vote

POSITIVE_MULTIPLIER = 1e-6  # an interior-point method leaves every multiplier positive; the rest weighs nothing
RADII_OF_MEDIAN = (0.5, 1.0, 1.5)


@dataclasses.dataclass(frozen=True)
class Settings:
    """What is to be certified, and how.

    Attributes
    ----------
    n_neighbors : int
        k, odd.
    norm : {"1", "2", "inf"}
        In which perturbations are measured.
    vote : {"plurality", "majority"}
        The vote that has to be lost.
    box : (float, float) or None
        Lower and upper side, the same for every feature, in the units that the classifier sees.
    clip : bool
        Whether test points outside the box are clipped into it.
    radii : tuple of float or None
        Radii at which errors are stated; None picks 0.5, 1 and 1.5 times the median certified radius of the
        correctly classified points.
    exact : int or None
        How many test points, evenly spaced, get an exact radius (by the search); None is all.
    check : int or None
        How many of these, evenly spaced, the judge looks at: there the explicit programs are solved as well, and an
        attack is run; None is all.
    solvers : tuple of str or None
        Solvers of the explicit programs, beside the search; None: those of `judge.default_solvers`.
    accuracy : str
        Of the solver profiles.
    time_limit : float or None
        Seconds for each exact radius, of the search and of the programs; what is met leaves an interval.
    node_limit : int or None
        Nodes of the search for each exact radius.
    n_jobs : int or None
        Workers of the search.
    """

    n_neighbors: int = 1
    norm: str = "2"
    vote: str = "plurality"
    box: tuple[float, float] | None = None
    clip: bool = False
    radii: tuple[float, ...] | None = None
    exact: int | None = None
    check: int | None = 20
    solvers: tuple[str, ...] | None = None
    accuracy: str = "accurate"
    time_limit: float | None = None
    node_limit: int | None = None
    n_jobs: int | None = None


@dataclasses.dataclass(frozen=True, eq=False)
class Certification:
    """What was found.

    Attributes
    ----------
    settings : Settings
        What was asked.
    data : DataSet
        As it was handed to the classifier.
    model : NearestNeighbors
        The classifier that was certified.
    norm : Norm
        In which perturbations are measured.
    clipped : int
        Test points that were moved into the box.
    predicted : (n,) array
        The classifier's labels of the test points.
    certified : CertifiedRadii
        Of every test point.
    radii : tuple of float
        At which errors are stated, in the units of the features.
    exact_at : (m,) integer array
        The test points behind `exact`.
    exact : ExactRadii or None
        None where `missing` says why.
    sample : (l,) integer array
        The test points behind `attack` and `judge`, some of `exact_at`.
    attack : AttackRadii
        On the sample.
    judge : CrossCheckReport
        On the sample; its query numbers count within the sample.
    missing : str
        What is not there, and why: a sentence, empty where everything is.
    interrupted : bool
        Whether Ctrl-C ended the work; what came after is left out, `sample` is empty if nothing was attacked.
    seconds : dict
        Wall-clock time of each stage.
    versions : dict
        Of convexrml, what it stands on, and the solvers.
    """

    settings: Settings
    data: DataSet
    model: NearestNeighbors
    norm: Norm
    clipped: int
    predicted: NDArray[Any]
    certified: CertifiedRadii
    radii: tuple[float, ...]
    exact_at: NDArray[np.int64]
    exact: ExactRadii | None
    sample: NDArray[np.int64]
    attack: AttackRadii
    judge: CrossCheckReport
    missing: str
    interrupted: bool
    seconds: dict[str, float]
    versions: dict[str, str | None]

    @property
    def correct(self) -> NDArray[np.bool_]:
        """Whether each test point is classified correctly."""
        return np.asarray(self.predicted == self.data.y_test)

    @property
    def clean_error(self) -> float:
        """Share of test points that are misclassified as they stand."""
        return float(np.mean(~self.correct))

    def certified_error(self, radius: float) -> float:
        """Share of all test points with certified radius ≤ `radius`; wrong ones count.

        Parameters
        ----------
        radius : float
            In the units of the features.

        Returns
        -------
        float
            At least the robust error.
        """
        return self.certified.certified_error(radius)

    def exact_error(self, radius: float) -> tuple[float, float] | None:
        """Bounds on the share of the points `exact_at` with exact radius ≤ `radius`.

        Parameters
        ----------
        radius : float
            In the units of the features.

        Returns
        -------
        (float, float) or None
            Lower and upper bound; None where there are no exact radii.
        """
        if self.exact is None:
            return None
        return self.exact.empirical_error(radius), self.exact.certified_error(radius)

    @property
    def known(self) -> NDArray[np.bool_]:
        """Which of the points `exact_at` have a known exact radius."""
        if self.exact is None:
            return np.zeros(len(self.exact_at), dtype=bool)
        return np.array([status.closed for status in self.exact.status], dtype=bool)


def certify(
    data: DataSet,
    settings: Settings | None = None,
    *,
    metric: MahalanobisMetric | None = None,
    progress: Progress | None = None,
) -> Certification:
    """Certify the nearest-neighbour classifier of a data set's training points on its test points.

    Parameters
    ----------
    data : DataSet
        The training points make the classifier, the test points are asked about.
    settings : Settings, optional
        What to ask; ``Settings()`` if not given.
    metric : MahalanobisMetric, optional
        Euclidean if not given.
    progress : callable, optional
        Called as ``progress(stage, finished, total)``.

    Returns
    -------
    Certification
        Bounds on every test point's radius, exact radii and the judge's report on as many as the settings ask for.

    Raises
    ------
    InvalidInputError
        If a setting does not fit the data.
    SolverError
        If a solver is unknown, missing or unfit.

    Notes
    -----
    Ctrl-C after the closed form ends the work early, not the function: what is there is returned, `interrupted`.
    """
    settings = Settings() if settings is None else settings
    for name, count in (("exact", settings.exact), ("check", settings.check)):
        if count is not None:
            whole_number(name, count, minimum=1)
    if settings.radii is not None and not all(np.isfinite(radius) and radius >= 0 for radius in settings.radii):
        raise InvalidInputError(f"radii: need to be finite and not negative; found {settings.radii}")
    norm, vote = as_norm(settings.norm), as_vote(settings.vote)
    model = NearestNeighbors(settings.n_neighbors, metric).fit(data.X_train, data.y_train)
    named = default_solvers(settings.n_neighbors, norm)
    if settings.solvers is not None:
        named = (SEARCH, *dict.fromkeys(name for name in settings.solvers if name != SEARCH))
    if settings.solvers is not None or settings.n_neighbors == 1:  # others are optional, see `judge.crosscheck`
        for solver in named[1:]:
            profiles.require_installed(profiles.get_profile(solver))
    box = as_box(settings.box, model.n_features_in_)
    data, clipped = data.inside(box, clip=settings.clip)
    clock = Clock(progress)

    n = len(data.X_test)
    with clock.stage("certified radii", n) as tick:
        predicted = model.predict(data.X_test)
        certified = certified_radius(model, data.X_test, data.y_test, norm=norm, progress=tick)
    exact_at = evenly_spaced(n, settings.exact)
    places = evenly_spaced(len(exact_at), settings.check)
    Z, y = data.X_test[exact_at], data.y_test[exact_at]
    exact: ExactRadii | None = None
    attack: AttackRadii | None = None
    judge: CrossCheckReport | None = None
    missing, interrupted = "", False

    def road(*arguments: Any, solver: str | None, **keywords: Any) -> ExactRadii:
        """Hand the judge the very intervals that are reported; solve the programs for it alone."""
        if solver is None and exact is not None:
            return selected(exact, places)
        return exact_radius(*arguments, solver=solver, **keywords)

    try:
        try:
            with clock.stage("exact radii", len(Z)) as tick:
                exact = exact_radius(
                    model, Z, y, norm=norm, box=box, vote=vote, method="search", n_jobs=settings.n_jobs, progress=tick,
                    time_limit=settings.time_limit, node_limit=settings.node_limit,
                )  # fmt: skip
        except UnsupportedError as error:
            missing = f"no exact radii by the search: {error}"
        with clock.stage("attack radii", len(places)) as tick:
            attack = attack_radius(model, Z[places], y[places], norm=norm, box=box, vote=vote, progress=tick)
        with clock.stage("cross-check", len(places) * (len(named) - 1)) as tick:
            judge = crosscheck(
                model, Z[places], y[places], norms=(norm,), boxes=(box,), vote=vote,
                solvers=None if settings.solvers is None else named, accuracy=settings.accuracy,
                time_limit=settings.time_limit, node_limit=settings.node_limit,
                roads=Roads(exact=road, attack=lambda *arguments, **keywords: attack), progress=tick,
            )  # fmt: skip
    except KeyboardInterrupt as stop:
        interrupted, missing = True, "interrupted; what was not finished is left out"
        if isinstance(stop, SearchInterrupted):  # the closed form knows more of those that were not finished
            exact = dataclasses.replace(stop.radii, lower=np.maximum(stop.radii.lower, certified.lower[exact_at]))
        if isinstance(stop, CrossCheckInterrupted):
            judge = stop.report
    if attack is None:
        places = places[:0]
        attack = AttackRadii(np.empty(0), np.empty((0, model.n_features_in_)), norm, vote)
    if judge is None:
        judge = CrossCheckReport((), len(places), (norm,), (box,), named, {}, (), settings.n_neighbors, vote)
    return Certification(
        settings=settings,
        data=data,
        model=model,
        norm=norm,
        clipped=clipped,
        predicted=predicted,
        certified=certified,
        radii=_radii(settings.radii, certified.lower[predicted == data.y_test]),
        exact_at=exact_at,
        exact=exact,
        sample=exact_at[places],
        attack=attack,
        judge=judge,
        missing=missing,
        interrupted=interrupted,
        seconds=clock.seconds,
        versions=versions(named[1:]),
    )


def evenly_spaced(n: int, count: int | None) -> NDArray[np.int64]:
    """`count` of the indices 0 … n − 1, evenly spaced from the first to the last; all of them for None."""
    if count is None or count >= n:
        return np.arange(n)
    return np.unique(np.rint(np.linspace(0, n - 1, count)).astype(np.int64))


def _radii(given: tuple[float, ...] | None, lower: NDArray[np.float64]) -> tuple[float, ...]:
    if given is not None:
        return given
    median = float(np.median(lower)) if len(lower) else 0.0
    if not np.isfinite(median) or median == 0:
        return ()
    return tuple(float(f"{factor * median:.3g}") for factor in RADII_OF_MEDIAN)
