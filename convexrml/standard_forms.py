"""A cvxpy program as arrays: a quadratic program with linear rows, or a linear objective over cones."""

from __future__ import annotations

import dataclasses
from typing import Any

import cvxpy as cp
import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from convexrml.errors import SolverMissingError, UnsupportedError
from convexrml.solve import problem_class


@dataclasses.dataclass(frozen=True, eq=False)
class QuadraticForm:
    """``min ½ xᵀP x + qᵀx + offset   s.t.   A x = b,  G x ≤ h,  lower ≤ x ≤ upper,  x_i whole for i in integers``.

    Attributes
    ----------
    P, A, G : sparse matrices
        P is symmetric, both triangles stored.
    q, b, h, lower, upper : arrays
    integers : integer array
    offset : float
    """

    P: Any
    q: NDArray[np.float64]
    A: Any
    b: NDArray[np.float64]
    G: Any
    h: NDArray[np.float64]
    lower: NDArray[np.float64]
    upper: NDArray[np.float64]
    integers: NDArray[np.int64]
    offset: float


@dataclasses.dataclass(frozen=True, eq=False)
class ConicForm:
    """``min cᵀx + offset   s.t.   b − A x in K,   x_i whole for i in integers``.

    K is a product, in this order: `zero` rows that vanish, `nonnegative` rows, second-order cones ``‖s_2..‖ ≤ s_1`` of
    the sizes `second_order`, and semidefinite cones of the orders `semidefinite`, each as the lower triangle of its
    matrix column by column, off-diagonal entries times √2.

    Attributes
    ----------
    c, b : arrays
    A : sparse matrix
    zero, nonnegative : int
    second_order, semidefinite : tuples of int
    integers : integer array
    offset : float
    """

    c: NDArray[np.float64]
    A: Any
    b: NDArray[np.float64]
    zero: int
    nonnegative: int
    second_order: tuple[int, ...]
    semidefinite: tuple[int, ...]
    integers: NDArray[np.int64]
    offset: float


def quadratic_form(problem: cp.Problem) -> QuadraticForm:
    """The quadratic form of a program of the classes LP, QP, MILP and MIQP.

    Raises
    ------
    UnsupportedError
        If the program has cones.
    SolverMissingError
        If it has integers and gurobipy, whose interface in cvxpy makes the arrays, is not installed (no licence is
        needed for that).
    """
    kind = problem_class(problem)
    if kind not in ("LP", "QP", "MILP", "MIQP"):
        raise UnsupportedError(f"a program of the class {kind} has cones, and no form as a quadratic program")
    data, offset = _data(problem, cp.GUROBI if kind.startswith("MI") else cp.OSQP)
    n = len(data["q"])
    integers = np.array(sorted(int(i) for i in (*data["bool_vars_idx"], *data["int_vars_idx"])), dtype=np.int64)
    lower, upper = (
        _bounds(data[name], n, value) for name, value in (("lower_bounds", -np.inf), ("upper_bounds", np.inf))
    )
    booleans = np.array(sorted(int(i) for i in data["bool_vars_idx"]), dtype=np.int64)
    lower[booleans], upper[booleans] = np.maximum(lower[booleans], 0.0), np.minimum(upper[booleans], 1.0)
    return QuadraticForm(
        P=sp.csc_matrix(data["P"]),
        q=np.asarray(data["q"], dtype=np.float64),
        A=sp.csc_matrix(data["A"]),
        b=np.asarray(data["b"], dtype=np.float64),
        G=sp.csc_matrix(data["F"]),
        h=np.asarray(data["G"], dtype=np.float64),
        lower=lower,
        upper=upper,
        integers=integers,
        offset=offset,
    )


def conic_form(problem: cp.Problem) -> ConicForm:
    """The conic form of a continuous program of any class up to SDP.

    Raises
    ------
    UnsupportedError
        If the program has integers, or cones beyond the semidefinite ones.
    """
    kind = problem_class(problem)
    if kind not in ("LP", "QP", "SOCP", "SDP"):
        raise UnsupportedError(f"a program of the class {kind} has no form over continuous second-order and SDP cones")
    data, offset = _data(problem, cp.SCS, solver_opts={"use_quad_obj": False})
    dims = data["dims"]
    A, b = sp.csc_matrix(data["A"]), np.asarray(data["b"], dtype=np.float64)
    return ConicForm(
        c=np.asarray(data["c"], dtype=np.float64),
        A=A,
        b=b,
        zero=int(dims.zero),
        nonnegative=int(dims.nonneg),
        second_order=tuple(map(int, dims.soc)),
        semidefinite=tuple(map(int, dims.psd)),
        integers=np.zeros(0, dtype=np.int64),
        offset=offset,
    )


def _data(problem: cp.Problem, solver: str, **options: Any) -> tuple[dict[str, Any], float]:
    """What cvxpy would hand to a solver, and the constant of the objective that it keeps to itself."""
    if solver not in cp.installed_solvers():
        raise SolverMissingError(f"cvxpy makes these arrays only where {solver} is installed: pip install gurobipy")
    data, _, inverse = problem.get_problem_data(solver, **options)
    return data, float(inverse[-1].get("offset", 0.0))


def _bounds(given: Any, n: int, missing: float) -> NDArray[np.float64]:
    return np.full(n, missing) if given is None else np.array(given, dtype=np.float64)
