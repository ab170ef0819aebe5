"""Solver profiles: what convexrml knows of a solver, read from one TOML file each.

A profile is data.  It says how cvxpy calls the solver, which classes of programs it takes, how to get it, which native
options make it `fast` or `accurate` and what its errors mean.  Adding a solver is adding a file.
"""

from __future__ import annotations

import contextlib
import difflib
import functools
import importlib.resources
from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from importlib.resources.abc import Traversable
from pathlib import Path
from types import MappingProxyType

from convexrml.errors import InvalidInputError, ProfileError, SolverMissingError, UnknownSolverError
from convexrml.profile_reader import read_profile
from convexrml.solver_profile import Accuracy, ErrorPatterns, KnownIssue, SolverProfile

__all__ = [
    "Accuracy",
    "ErrorPatterns",
    "KnownIssue",
    "SolverProfile",
    "also_from",
    "get_profile",
    "load_profiles",
    "require_installed",
]

_MORE: ContextVar[Path | None] = ContextVar("_MORE", default=None)


@contextlib.contextmanager
def also_from(directory: Path | None) -> Iterator[None]:
    """Within this context the profiles of a folder join those that convexrml comes with.

    Parameters
    ----------
    directory : Path or None
        A folder of TOML files; with None nothing joins.

    Yields
    ------
    None
        Nothing; to be used in a ``with`` statement.

    Raises
    ------
    ProfileError
        If one of them does not say what a profile has to say, or has the name of a shipped one.
    """
    if directory is not None:
        _joined(Path(directory))
    token = _MORE.set(None if directory is None else Path(directory))
    try:
        yield
    finally:
        _MORE.reset(token)


def load_profiles(directory: Path | None = None) -> Mapping[str, SolverProfile]:
    """Read every profile.

    Parameters
    ----------
    directory : Path, optional
        A folder of TOML files to read instead of the profiles that convexrml comes with (`also_from`: besides them).

    Returns
    -------
    mapping of str to SolverProfile
        Read-only, sorted by name.

    Raises
    ------
    ProfileError
        If there are no profiles, or one does not say what a profile has to say.
    """
    more = _MORE.get()
    if directory is not None:
        return _read_directory(Path(directory))
    return _own_profiles() if more is None else _joined(more)


def get_profile(name: str, directory: Path | None = None) -> SolverProfile:
    """Return the profile of one solver.

    Parameters
    ----------
    name : str
        Name of the solver, in upper or lower case.
    directory : Path, optional
        As in `load_profiles`.

    Returns
    -------
    SolverProfile
        Whether or not the solver is installed.

    Raises
    ------
    UnknownSolverError
        If no profile has this name.
    ProfileError
        If a profile in the folder does not say what a profile has to say.
    InvalidInputError
        If the name is no string.

    Examples
    --------
    >>> from convexrml.profiles import get_profile
    >>> get_profile("Clarabel").problem_classes
    ('LP', 'QP', 'SOCP', 'SDP')
    """
    if not isinstance(name, str):
        raise InvalidInputError(f"solver: needs the name of a profile, such as 'clarabel'; found {name!r}")
    profiles = load_profiles(directory)
    if name.lower() in profiles:
        return profiles[name.lower()]
    closest = difflib.get_close_matches(name.lower(), profiles, n=1)
    hint = f"; did you mean {closest[0]!r}?" if closest else ""
    raise UnknownSolverError(f"solver: no profile is named {name!r}{hint} (there are: {', '.join(profiles)})")


def require_installed(profile: SolverProfile) -> None:
    """Raise `SolverMissingError` with the install line if the solver is not installed."""
    missing = profile.missing_modules
    if missing:
        raise SolverMissingError(
            f"{profile.title} is not installed (no module {', '.join(map(repr, missing))}); "
            f"install it with: {profile.install}"
        )


@functools.cache
def _own_profiles() -> Mapping[str, SolverProfile]:
    return _read_directory(_own_directory())


def _joined(directory: Path) -> Mapping[str, SolverProfile]:
    own, more = _own_profiles(), _read_directory(directory)
    if twice := sorted(set(own) & set(more)):
        raise ProfileError(
            f"{directory}: {twice[0]}.toml has the name of a profile of convexrml's; choose another name"
        )
    return MappingProxyType(dict(sorted({**own, **more}.items())))


def _own_directory() -> Traversable:
    try:
        return importlib.resources.files("convexrml.solvers")
    except ModuleNotFoundError:
        checkout = Path(__file__).resolve().parents[1] / "solvers"  # beside pyproject.toml: not installed
    if not checkout.is_dir():
        raise ProfileError(
            "the solver profiles are missing: neither the package convexrml.solvers nor a folder "
            "solvers/ beside pyproject.toml is there; reinstall convexrml"
        )
    return checkout


def _read_directory(directory: Traversable) -> Mapping[str, SolverProfile]:
    if not directory.is_dir():
        raise ProfileError(f"{directory}: no such folder; name one that holds solver profiles (*.toml)")
    files = sorted((file for file in directory.iterdir() if file.name.endswith(".toml")), key=lambda file: file.name)
    if not files:
        raise ProfileError(f"{directory}: the folder holds no solver profiles (*.toml); name another one")
    profiles = [read_profile(file) for file in files]
    return MappingProxyType({profile.name: profile for profile in sorted(profiles, key=lambda profile: profile.name)})
