"""The record of a solver profile: what convexrml knows of one solver."""

from __future__ import annotations

import dataclasses
import functools
import importlib.metadata
import importlib.util
from collections.abc import Mapping

from convexrml.errors import InvalidInputError

PROBLEM_CLASSES = ("LP", "QP", "SOCP", "SDP", "MILP", "MIQP", "MISOCP")
REQUIRED_ACCURACIES = ("fast", "accurate")


@dataclasses.dataclass(frozen=True)
class Accuracy:
    """A named set of native options, and what a caller may expect of it.

    Attributes
    ----------
    options : mapping
        Native options of the solver, as cvxpy's interface takes them (tables may be nested).
    tolerance : float
        The relative gap between primal and dual value to expect on a well scaled program.  An expectation from
        measurements, never a guarantee: that is what measured gaps are for.
    """

    options: Mapping[str, object] = dataclasses.field(hash=False)
    tolerance: float


@dataclasses.dataclass(frozen=True)
class KnownIssue:
    """Something that went wrong with a solver when it was tried.

    Attributes
    ----------
    seen_with : str
        The versions with which it was seen.
    what : str
        What happens.
    workaround : str
        What to do about it.
    """

    seen_with: str
    what: str
    workaround: str


@dataclasses.dataclass(frozen=True)
class ErrorPatterns:
    """Regular expressions that tell what an exception from the solver means.

    They are searched in ``"ExceptionName: message"`` of the exception and of those that it was raised from.

    Attributes
    ----------
    option : tuple of str
        The solver refused an option or a value of one.
    licence : tuple of str
        The solver found no valid licence.
    ask_again : str
        Where cvxpy swallows an exception and only says "failed": the method of the solver's own model to call once
        more for its reason.  Empty if there is nothing to ask.
    """

    option: tuple[str, ...] = ()
    licence: tuple[str, ...] = ()
    ask_again: str = ""


@dataclasses.dataclass(frozen=True)
class SolverProfile:
    """What convexrml knows of one solver.

    Attributes
    ----------
    name : str
        The name by which callers ask for it: the name of the file, in lower case.
    title : str
        The name as its authors write it.
    cvxpy_name : str
        The name by which cvxpy knows it.
    modules : tuple of str
        Top-level modules that have to be there.
    problem_classes : tuple of str
        The classes of programs to hand it, among `PROBLEM_CLASSES`.
    method, licence : str
        For the reader.
    needs_licence : bool
        Whether it refuses to solve (some) programs without a licence file.
    install : str
        The line that installs it.
    homepage : str
        Where it lives.
    warm_start : bool
        Whether cvxpy may reuse its solver object for the next solve of the same problem.  Some solvers then keep
        the options of the solve before.
    accuracies : mapping of str to Accuracy
        At least `fast` and `accurate`.
    known_issues : tuple of KnownIssue
        What went wrong when it was tried.
    licence_page : str
        Where to get a licence, if it needs one.
    option_names : tuple of str
        The options that exist, where the solver or cvxpy's interface ignores all others without a word.  Empty if
        unknown options are errors anyway.
    errors : ErrorPatterns
        How to read its exceptions.
    time_limit_option : tuple of str
        The native option that limits a run in seconds, after the tables that it is nested in.  Empty if none is known.
    """

    name: str
    title: str
    cvxpy_name: str
    modules: tuple[str, ...]
    problem_classes: tuple[str, ...]
    method: str
    licence: str
    needs_licence: bool
    install: str
    homepage: str
    warm_start: bool
    accuracies: Mapping[str, Accuracy] = dataclasses.field(hash=False)
    known_issues: tuple[KnownIssue, ...] = ()
    licence_page: str = ""
    option_names: tuple[str, ...] = ()
    errors: ErrorPatterns = dataclasses.field(default_factory=ErrorPatterns)
    time_limit_option: tuple[str, ...] = ()

    @property
    def missing_modules(self) -> tuple[str, ...]:
        """The modules that are not installed; nothing is imported to find out."""
        return tuple(module for module in self.modules if importlib.util.find_spec(module) is None)

    @property
    def installed(self) -> bool:
        """Whether every module is there."""
        return not self.missing_modules

    def at(self, accuracy: str) -> Accuracy:
        """Return the named accuracy.

        Parameters
        ----------
        accuracy : str
            ``"fast"``, ``"accurate"``, or another name in the profile.

        Returns
        -------
        Accuracy
            The options, and what may be expected of them.

        Raises
        ------
        InvalidInputError
            If the profile has none of this name.
        """
        if accuracy not in self.accuracies:
            known = ", ".join(self.accuracies)
            raise InvalidInputError(f"accuracy: {self.title} has no accuracy {accuracy!r} (there are: {known})")
        return self.accuracies[accuracy]

    def time_limit(self, seconds: float) -> dict[str, object]:
        """Return the native options that stop a run after so many seconds.

        Parameters
        ----------
        seconds : float
            Positive.

        Returns
        -------
        dict
            Options, as `Accuracy.options` has them.

        Raises
        ------
        InvalidInputError
            If the number is not positive, or the profile names no such option.
        """
        if not seconds > 0:
            raise InvalidInputError(f"time_limit: needs a positive number of seconds; found {seconds!r}")
        if not self.time_limit_option:
            raise InvalidInputError(f"time_limit: the profile of {self.title} names no option that limits a run's time")
        *tables, name = self.time_limit_option
        options: dict[str, object] = {name: float(seconds)}
        for table in reversed(tables):
            options = {table: options}
        return options

    def version(self) -> str | None:
        """Return the version of the installed distribution, or None if there is none.

        Returns
        -------
        str or None
            As the package's metadata have it; the solver is not imported.
        """
        return _version(self.modules[0]) if self.installed else None


@functools.cache
def _version(module: str) -> str | None:
    try:
        return importlib.metadata.version(module)
    except importlib.metadata.PackageNotFoundError:
        pass  # the distribution is named otherwise than the module: the slow way round
    distributions = importlib.metadata.packages_distributions().get(module, [])
    return importlib.metadata.version(distributions[0]) if distributions else None
