"""The exceptions that convexrml raises: one small tree, rooted at `ConvexrmlError`.

Every message names what was wrong, what was found, and what to do about it.  Each class also derives from the
built-in exception that users would catch anyway.  Ctrl-C stays a `KeyboardInterrupt`; where work was done before it,
the exception hands it over.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from convexrml.results import ExactRadii
    from convexrml.verdicts import CrossCheckReport


class ConvexrmlError(Exception):
    """Base class of every error that convexrml raises on purpose."""


class InvalidInputError(ConvexrmlError, ValueError):
    """An argument cannot be used; the message starts with the argument's name."""


class NotAffineError(InvalidInputError):
    """A fitted estimator is not a nearest-neighbour classifier under a Mahalanobis metric of its inputs."""


class DataFileError(ConvexrmlError, ValueError):
    """A file cannot be read as the data, metric or instance that it was given as."""


class DownloadError(ConvexrmlError, ConnectionError):
    """A data set is not on this machine and cannot be downloaded; the message says where to put it."""


class NotFittedError(ConvexrmlError, ValueError, AttributeError):
    """A `NearestNeighbors` was used before `fit`; learners of a metric raise scikit-learn's error of this name."""


class UnsupportedError(ConvexrmlError, NotImplementedError):
    """The question is well posed, but this version of convexrml has no road to its answer."""


class LearningError(ConvexrmlError, RuntimeError):
    """A metric cannot be learnt further: it collapsed, or the objective is no longer finite."""


class CollapsedMetricError(LearningError, ValueError):
    """The optimal metric is 0 for the given parameters: it would tell no points apart."""


class ToolMissingError(ConvexrmlError, ImportError):
    """A tool that is not part of convexrml was asked for and is not installed; the message has the install line."""


class SolverError(ConvexrmlError, RuntimeError):
    """Base class of everything that can go wrong between a program and its solver."""


class UnknownSolverError(SolverError, LookupError):
    """No profile has this name."""


class ProfileError(SolverError, ValueError):
    """A solver profile (a TOML file) does not say what a profile has to say."""


class SolverMissingError(SolverError, ImportError):
    """The solver that was asked for is not installed; the message has the install line."""


class SolverLicenceError(SolverError):
    """The solver is installed but found no valid licence."""


class SolverOptionError(SolverError, ValueError):
    """The solver refused an option or a value of one."""


class SolverCapabilityError(SolverError, ValueError):
    """The solver does not handle this class of programs."""


class SolverFailedError(SolverError):
    """The solver stopped with an error of its own."""


class SearchInterrupted(KeyboardInterrupt):
    """Ctrl-C during a search: what was finished by then is not lost.

    Attributes
    ----------
    radii : ExactRadii
        One entry for each query; those that were not finished have status INTERRUPTED, lower 0 and upper inf.
    """

    def __init__(self, radii: ExactRadii) -> None:
        super().__init__("interrupted; the attribute `radii` holds what was finished")
        self.radii = radii


class CrossCheckInterrupted(KeyboardInterrupt):
    """Ctrl-C during a cross-check: what was compared by then is not lost.

    Attributes
    ----------
    report : CrossCheckReport
        The comparisons made before.
    """

    def __init__(self, report: CrossCheckReport) -> None:
        super().__init__("interrupted; the attribute `report` holds what was compared")
        self.report = report
