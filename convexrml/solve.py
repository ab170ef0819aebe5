"""The only road from a program to a solver: no other module calls `cvxpy.Problem.solve`.

It adds nothing to the program and never substitutes a solver.  What differs between solvers is data, in the profiles.
What a solver reports is a claim: the report names it so, and has no value in it.  Values are measured elsewhere, from
the original data.
"""

from __future__ import annotations

import dataclasses
import enum
import re
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import cvxpy as cp
from cvxpy.atoms import EXP_ATOMS, PSD_ATOMS

from convexrml.errors import (
    InvalidInputError,
    SolverCapabilityError,
    SolverError,
    SolverFailedError,
    SolverLicenceError,
    SolverMissingError,
    SolverOptionError,
)
from convexrml.profiles import SolverProfile, get_profile, load_profiles, require_installed

# Keywords of cvxpy's own: as "options" they would change what is solved, or by whom, instead of reaching the solver.
_CVXPY_KEYWORDS = frozenset(
    "solver solver_path warm_start solver_verbose bibtex gp qcp requires_grad enforce_dpp ignore_dpp canon_backend "
    "nlp method".split()
)


class ClaimedStatus(enum.Enum):
    """What a solver says of its own answer: a claim, not a finding."""

    OPTIMAL = "the solver claims an optimum"
    OPTIMAL_INACCURATE = "the solver claims an optimum, short of the accuracy that it was asked for"
    INFEASIBLE = "the solver claims that no point satisfies the constraints"
    INFEASIBLE_INACCURATE = "the solver suspects that no point satisfies the constraints"
    UNBOUNDED = "the solver claims that the objective is unbounded"
    UNBOUNDED_INACCURATE = "the solver suspects that the objective is unbounded"
    INFEASIBLE_OR_UNBOUNDED = "the solver claims that the program is infeasible or unbounded, and not which"
    USER_LIMIT = "the solver stopped at a limit"


@dataclasses.dataclass(frozen=True)
class SolverReport:
    """Who solved a program, how long it took and what was claimed; deliberately without a value.

    Attributes
    ----------
    solver : str
        Name of the profile.
    version : str or None
        Version of the installed solver, None if it cannot be found out.
    accuracy : str
        The accuracy that was asked for.
    tolerance : float
        The relative gap to expect of it on a well scaled program.
    claimed : ClaimedStatus
        What the solver says of its answer.
    compile_seconds : float
        Time that cvxpy took to bring the program into the solver's form.
    solve_seconds : float
        The rest: the solver itself, its set-up and the way in and out.
    seconds : float
        The sum, measured on the wall clock.
    iterations : int or None
        As the solver counts them, None if it does not.
    """

    solver: str
    version: str | None
    accuracy: str
    tolerance: float
    claimed: ClaimedStatus
    compile_seconds: float
    solve_seconds: float
    seconds: float
    iterations: int | None


def run(
    problem: cp.Problem,
    solver: str = "clarabel",
    accuracy: str = "accurate",
    *,
    options: Mapping[str, object] | None = None,
    profiles_directory: Path | None = None,
) -> SolverReport:
    """Hand a program to one solver; the variables and multipliers of `problem` then hold its answer.

    Parameters
    ----------
    problem : cvxpy.Problem
        A convex program (mixed-integer ones included) whose parameters have values.
    solver : str
        Name of a profile.  No other solver is ever tried instead.
    accuracy : str
        Name of an accuracy in the profile: at least `fast` and `accurate` are there.
    options : mapping, optional
        Native options of the solver, laid over those of the profile (nested tables key by key).
    profiles_directory : Path, optional
        A folder of profiles to read instead of those that convexrml comes with.

    Returns
    -------
    SolverReport
        What was claimed, not what is true: measure the answer before using it.

    Raises
    ------
    UnknownSolverError, SolverMissingError, SolverCapabilityError, InvalidInputError
        Before anything is solved.
    SolverLicenceError, SolverOptionError, SolverFailedError
        By the solver; `problem` then holds no values.
    """
    profile = get_profile(solver, profiles_directory)
    level = profile.at(accuracy)
    check_problem(problem)
    require_installed(profile)
    require_capable(profile, problem_class(problem), profiles_directory)
    merged = _merged(level.options, {} if options is None else options)
    _check_options(profile, merged)
    seconds = _solve(problem, profile, merged, asked=list(_names(options or merged)))
    compile_seconds = min(float(problem.compilation_time or 0.0), seconds)
    return SolverReport(
        solver=profile.name,
        version=profile.version(),
        accuracy=accuracy,
        tolerance=level.tolerance,
        claimed=_claim(problem, profile),
        compile_seconds=compile_seconds,
        solve_seconds=seconds - compile_seconds,
        seconds=seconds,
        iterations=_iterations(problem),
    )


def problem_class(problem: cp.Problem) -> str:
    """Return the narrowest class that holds the program, as profiles name it.

    Mixed-integer programs begin with MI.  Where no profile can list the class, the name says what it is instead.
    """
    prefix = "MI" if problem.is_mixed_integer() else ""
    kinds = {type(constraint) for constraint in problem.constraints} | set(problem.atoms())
    if kinds & {cp.ExpCone, cp.PowCone3D, cp.PowConeND, *EXP_ATOMS}:
        return prefix + "conic program beyond SDP"
    if kinds & {cp.PSD, *PSD_ATOMS} or any(_is_semidefinite(variable) for variable in problem.variables()):
        return prefix + "SDP"
    if cp.SOC in kinds or not problem.is_qp():  # older cvxpy overlooks second-order cones in is_qp
        return prefix + "SOCP"
    return prefix + ("LP" if problem.objective.args[0].is_pwl() else "QP")


def check_problem(problem: cp.Problem) -> None:
    """Raise `InvalidInputError` unless it is a convex program whose parameters have values."""
    if not isinstance(problem, cp.Problem):
        raise InvalidInputError(f"problem: expected a cvxpy.Problem, found {type(problem).__name__}")
    unset = [parameter.name() for parameter in problem.parameters() if parameter.value is None]
    if unset:
        raise InvalidInputError(f"problem: these parameters have no value: {', '.join(unset)}")
    if not problem.is_dcp():
        raise InvalidInputError("problem: it is not convex by cvxpy's rules (problem.is_dcp() is false)")


def _is_semidefinite(variable: cp.Variable) -> bool:
    return any(variable.attributes[name] for name in ("PSD", "NSD", "hermitian"))


def require_capable(profile: SolverProfile, wanted: str, directory: Path | None = None) -> None:
    """Raise `SolverCapabilityError`, naming solvers that do, if the solver does not take this class of programs."""
    if wanted in profile.problem_classes:
        return
    able = [
        other.name for other in load_profiles(directory).values() if wanted in other.problem_classes and other.installed
    ]
    raise SolverCapabilityError(
        f"{profile.title} takes {', '.join(profile.problem_classes)}, but this program is of the class "
        f"{wanted}; installed solvers that take it: {', '.join(able) or 'none'}"
    )


def _merged(below: Mapping[str, object], above: Mapping[str, object]) -> dict[str, Any]:
    """Lay options over options, table by table; the result is fresh, for cvxpy writes into what it is given."""
    merged = {name: _thawed(value) for name, value in below.items()}
    for name, value in above.items():
        held = below.get(name)
        nested = isinstance(held, Mapping) and isinstance(value, Mapping)
        merged[name] = _merged(held, value) if nested else _thawed(value)  # type: ignore[arg-type]
    return merged


def _thawed(value: object) -> object:
    if isinstance(value, Mapping):
        return {name: _thawed(item) for name, item in value.items()}
    return [_thawed(item) for item in value] if isinstance(value, list | tuple) else value


def _check_options(profile: SolverProfile, options: Mapping[str, object]) -> None:
    for name in options:
        if not isinstance(name, str):
            raise SolverOptionError(f"options: expected names, found {name!r}")
        if name in _CVXPY_KEYWORDS:
            raise SolverOptionError(f"{name!r} is a keyword of cvxpy, not an option of {profile.title}")
        if profile.option_names and name not in profile.option_names:
            known = ", ".join(profile.option_names)
            raise SolverOptionError(f"{profile.title} would ignore the option {name!r} (there are: {known})")


def _solve(problem: cp.Problem, profile: SolverProfile, options: dict[str, Any], asked: list[str]) -> float:
    names = list(_names(options))  # now, for cvxpy empties nested tables
    started = time.perf_counter()
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Solution may be inaccurate")  # the claim carries that
            hand_over: Callable[..., object] = problem.solve  # untyped in cvxpy
            hand_over(solver=profile.cvxpy_name, warm_start=profile.warm_start, **options)
    except MemoryError:
        raise
    except Exception as error:  # whatever a solver raises, to be told apart by the profile
        _forget_values(problem)
        reason = _hidden_reason(problem, profile, error) or error
        raise translated(reason, profile, names, asked) from reason
    return time.perf_counter() - started


def _names(options: Mapping[str, object]) -> Iterator[str]:
    for name, value in options.items():
        yield str(name)
        if isinstance(value, Mapping):
            yield from _names(value)


def _forget_values(problem: cp.Problem) -> None:
    """Drop the values of an earlier solve: nobody shall read them as the answer to this one."""
    for variable in problem.variables():
        variable.save_value(None)
    for constraint in problem.constraints:
        for variable in constraint.dual_variables:
            variable.save_value(None)


def _hidden_reason(problem: cp.Problem, profile: SolverProfile, error: Exception) -> Exception | None:
    """Ask the solver's own model for the exception that cvxpy swallowed."""
    if not profile.errors.ask_again or not isinstance(error, cp.SolverError):
        return None
    model = getattr(problem, "_solver_cache", {}).get(profile.cvxpy_name)
    ask = getattr(model, profile.errors.ask_again, None)
    if ask is None:
        return None
    try:
        ask()
    except MemoryError:
        raise
    except Exception as hidden:  # the solver's own class of exceptions, which must not be imported here
        return hidden
    return None


def translated(error: Exception, profile: SolverProfile, names: list[str], asked: list[str]) -> SolverError:
    """What an exception of a solver means, by its profile; `names` are the options it had, `asked` the caller's."""
    texts = [f"{type(link).__name__}: {link}" for link in _chain(error)]
    said = f"{profile.title} said: {_shortened(texts[0])}"
    if _matches(profile.errors.licence, texts):
        return SolverLicenceError(
            f"{profile.title} found no licence for this program; get one at {profile.licence_page}. {said}"
        )
    if _matches(profile.errors.option, texts):
        named = [name for name in names if any(re.search(rf"(?<!\w){re.escape(name)}(?!\w)", text) for text in texts)]
        which = f"the option {named[0]!r}" if named else f"an option or its value (one of: {', '.join(asked)})"
        return SolverOptionError(f"{profile.title} refused {which}. {said}")
    if isinstance(error, cp.SolverError) and "is not installed" in str(error):
        return SolverMissingError(
            f"cvxpy cannot load {profile.title}, though its modules are there; repair it with: {profile.install}"
        )
    return SolverFailedError(
        f"{profile.title} stopped with an error of its own (options: {', '.join(names) or 'none'}). {said}"
    )


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


def _matches(patterns: tuple[str, ...], texts: list[str]) -> bool:
    return any(re.search(pattern, text) for pattern in patterns for text in texts)


def _shortened(text: str, limit: int = 300) -> str:
    text = " ".join(text.split())
    return text if len(text) <= limit else text[: limit - 3] + "..."


def _claim(problem: cp.Problem, profile: SolverProfile) -> ClaimedStatus:
    name = str(problem.status).upper()
    if name not in ClaimedStatus.__members__:
        raise SolverFailedError(f"{profile.title} ended with a status that convexrml does not know: {problem.status!r}")
    return ClaimedStatus[name]


def _iterations(problem: cp.Problem) -> int | None:
    count = getattr(problem.solver_stats, "num_iters", None)
    return None if count is None else int(count)
