"""Write a program to a file for other people's solvers: MPS, CBF, SDPA's sparse format, or arrays."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cvxpy as cp
import numpy as np
import scipy.sparse as sp

from convexrml.errors import InvalidInputError, SolverFailedError, SolverMissingError
from convexrml.solve import check_problem, problem_class
from convexrml.standard_forms import ConicForm, QuadraticForm, conic_form, quadratic_form

QUADRATIC = ("LP", "QP", "MILP", "MIQP")
FORMATS = {
    "mps": QUADRATIC,
    "npz": (*QUADRATIC, "SOCP", "SDP"),
    "cbf": ("LP", "QP", "SOCP", "SDP"),
    "dat-s": ("LP", "QP", "SOCP", "SDP"),
}


def write_program(problem: cp.Problem, path: Path | str) -> Path:
    """Write a program; the ending of the name says how.

    ``.mps``
        LP, QP, MILP and MIQP, by HiGHS (with integers and a quadratic objective by MOSEK, which needs no licence to
        write).  The quadratic objective is a QUADOBJ section.
    ``.cbf``
        LP, QP, SOCP and SDP with a linear objective over cones (`standard_forms.ConicForm`), by MOSEK.
    ``.dat-s``
        The same over semidefinite cones, in SDPA's sparse format: ``min cᵀx  s.t.  Σ x_i F_i − F_0 ⪰ 0``.  A
        second-order cone is an arrow matrix, an equation a pair of inequalities.
    ``.npz``
        The arrays of `standard_forms.QuadraticForm` or, with cones, of `ConicForm`; sparse matrices as ``name_data``,
        ``name_indices``, ``name_indptr`` and ``name_shape`` (compressed columns).

    Files hold the objective's linear part without the constant, but for ``.npz`` (``offset``) and ``.mps``.

    Parameters
    ----------
    problem : cvxpy.Problem
        Its parameters have values.
    path : Path or str
        The file; its ending says the format.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    InvalidInputError
        If the ending is unknown, or the format cannot hold the program.
    SolverMissingError
        If the library that writes the format is not installed.
    """
    path = Path(path)
    ending = next((name for name in FORMATS if path.name.endswith("." + name)), None)
    if ending is None:
        raise InvalidInputError(f"path: {path.name!r} ends with no known format (there are: .{', .'.join(FORMATS)})")
    if path.is_dir() or not path.parent.is_dir():
        raise InvalidInputError(
            f"path: {path} is a folder, not a file" if path.is_dir() else f"path: there is no folder {path.parent}"
        )
    check_problem(problem)
    kind = problem_class(problem)
    if kind not in FORMATS[ending]:
        able = ", ".join("." + name for name, kinds in FORMATS.items() if kind in kinds)
        raise InvalidInputError(f"path: .{ending} cannot hold a program of the class {kind}; use {able or 'none'}")
    if ending == "mps":
        form = quadratic_form(problem)
        (_write_with_mosek if kind == "MIQP" else _write_with_highs)(form, path)
    elif ending == "npz":
        _write_arrays(quadratic_form(problem) if kind in QUADRATIC else conic_form(problem), path)
    else:
        (_write_cbf if ending == "cbf" else _write_sdpa)(conic_form(problem), path)
    return path


def _write_arrays(form: QuadraticForm | ConicForm, path: Path) -> None:
    arrays: dict[str, Any] = {}
    for name, value in vars(form).items():
        if sp.issparse(value):
            parts = {"data": value.data, "indices": value.indices, "indptr": value.indptr, "shape": value.shape}
            arrays |= {f"{name}_{part}": np.asarray(array) for part, array in parts.items()}
        else:
            arrays[name] = np.asarray(value)
    np.savez_compressed(path, **arrays)


def _write_with_highs(form: QuadraticForm, path: Path) -> None:
    import highspy

    rows = sp.csc_matrix(sp.vstack([form.A, form.G]))
    model = highspy.HighsModel()
    lp = model.lp_
    lp.num_col_, lp.num_row_ = rows.shape[1], rows.shape[0]
    lp.col_cost_, lp.offset_ = form.q, form.offset
    lp.col_lower_, lp.col_upper_ = form.lower, form.upper
    lp.row_lower_ = np.concatenate([form.b, np.full(len(form.h), -np.inf)])
    lp.row_upper_ = np.concatenate([form.b, form.h])
    lp.a_matrix_.format_ = highspy.MatrixFormat.kColwise
    lp.a_matrix_.start_, lp.a_matrix_.index_, lp.a_matrix_.value_ = rows.indptr, rows.indices, rows.data
    if len(form.integers):
        kinds = np.full(lp.num_col_, highspy.HighsVarType.kContinuous)
        kinds[form.integers] = highspy.HighsVarType.kInteger
        lp.integrality_ = kinds.tolist()
    if form.P.nnz:
        triangle = sp.csc_matrix(sp.tril(form.P))
        model.hessian_.dim_, model.hessian_.format_ = lp.num_col_, highspy.HessianFormat.kTriangular
        model.hessian_.start_, model.hessian_.index_ = triangle.indptr, triangle.indices
        model.hessian_.value_ = triangle.data
    solver = highspy.Highs()
    solver.setOptionValue("output_flag", False)
    for status in (solver.passModel(model), solver.writeModel(str(path))):
        if status == highspy.HighsStatus.kError:
            raise SolverFailedError(f"HiGHS could not write {path}")


def _with_mosek(fill: Callable[[Any, Any], None], path: Path) -> None:
    if importlib.util.find_spec("mosek") is None:
        raise SolverMissingError(
            "MOSEK writes this format (without a licence), but is not installed; install it with: "
            "pip install convexrml[mosek]"
        )
    import mosek

    with mosek.Env() as env, env.Task() as task:
        fill(mosek, task)
        task.writedata(str(path))


def _write_with_mosek(form: QuadraticForm, path: Path) -> None:
    def fill(mosek: Any, task: Any) -> None:
        n = len(form.q)
        rows = sp.coo_matrix(sp.vstack([form.A, form.G]))
        task.appendvars(n)
        task.appendcons(rows.shape[0])
        task.putclist(range(n), form.q)
        task.putcfix(form.offset)
        for i in range(n):
            task.putvarbound(i, *_bound(mosek, form.lower[i], form.upper[i]))
        for i in form.integers:
            task.putvartype(int(i), mosek.variabletype.type_int)
        task.putaijlist(rows.row.astype(np.int32), rows.col.astype(np.int32), rows.data)
        for i, value in enumerate(form.b):
            task.putconbound(i, mosek.boundkey.fx, value, value)
        for i, value in enumerate(form.h, start=len(form.b)):
            task.putconbound(i, mosek.boundkey.up, -np.inf, value)
        triangle = sp.coo_matrix(sp.tril(form.P))
        task.putqobj(triangle.row.astype(np.int32), triangle.col.astype(np.int32), triangle.data)

    _with_mosek(fill, path)


def _bound(mosek: Any, lower: float, upper: float) -> tuple[Any, float, float]:
    keys = mosek.boundkey
    kind = (
        (keys.fx if lower == upper else keys.ra)
        if np.isfinite([lower, upper]).all()
        else keys.lo
        if np.isfinite(lower)
        else keys.up
        if np.isfinite(upper)
        else keys.fr
    )
    return kind, lower, upper


def _write_cbf(form: ConicForm, path: Path) -> None:
    def fill(mosek: Any, task: Any) -> None:
        n, m = len(form.c), len(form.b)
        task.appendvars(n)
        task.putclist(range(n), form.c)
        task.putvarboundsliceconst(0, n, mosek.boundkey.fr, -np.inf, np.inf)
        task.appendafes(m)
        entries = sp.coo_matrix(form.A)
        task.putafefentrylist(entries.row.astype(np.int64), entries.col.astype(np.int32), -entries.data)
        task.putafeglist(range(m), form.b)
        sizes = [(task.appendrzerodomain, form.zero), (task.appendrplusdomain, form.nonnegative)]
        sizes += [(task.appendquadraticconedomain, size) for size in form.second_order]
        sizes += [(task.appendsvecpsdconedomain, order * (order + 1) // 2) for order in form.semidefinite]
        start = 0
        for domain, size in sizes:
            if size:
                task.appendaccseq(domain(size), start, np.zeros(size))
            start += size

    _with_mosek(fill, path)


def _write_sdpa(form: ConicForm, path: Path) -> None:
    """``F(x) = b − A x``, block by block; equations twice, with both signs."""
    sign = np.concatenate([np.ones(len(form.b)), -np.ones(form.zero)])
    rows = np.concatenate([np.arange(len(form.b)), np.arange(form.zero)])
    values = sp.csc_matrix(sp.hstack([-form.b[rows, None] * sign[:, None], -form.A[rows].multiply(sign[:, None])]))
    places, blocks = _sdpa_places(form)
    lines = [f"{len(form.c)}", f"{len(blocks)}", " ".join(map(str, blocks)), " ".join(f"{v:.17g}" for v in form.c)]
    for matrix in range(values.shape[1]):
        column = slice(values.indptr[matrix], values.indptr[matrix + 1])
        for row, value in zip(values.indices[column], values.data[column], strict=True):
            lines += [
                f"{matrix} {block} {i} {j} {scale * value:.17g}" for block, i, j, scale in places[row] if value != 0
            ]
    path.write_text("\n".join(lines) + "\n", encoding="ascii")


def _sdpa_places(form: ConicForm) -> tuple[list[list[tuple[int, int, int, float]]], list[int]]:
    """Where each row of the form stands in SDPA's block matrix, (block, i, j, factor), and the sizes of the blocks.

    A negative size is a diagonal block: first the inequalities, then the equations and their negatives.
    """
    zero, plus = form.zero, form.nonnegative
    diagonal = 2 * zero + plus
    blocks = [-diagonal] if diagonal else []
    places = [[(1, plus + i, plus + i, 1.0)] for i in range(1, zero + 1)]
    places += [[(1, i, i, 1.0)] for i in range(1, plus + 1)]
    for size in form.second_order:
        blocks.append(size)
        places.append([(len(blocks), i, i, 1.0) for i in range(1, size + 1)])
        places += [[(len(blocks), 1, i, 1.0)] for i in range(2, size + 1)]
    for order in form.semidefinite:
        blocks.append(order)
        for column in range(1, order + 1):
            places.append([(len(blocks), column, column, 1.0)])
            places += [[(len(blocks), column, row, np.sqrt(0.5))] for row in range(column + 1, order + 1)]
    places += [[(1, plus + zero + i, plus + zero + i, 1.0)] for i in range(1, zero + 1)]
    return places, blocks
