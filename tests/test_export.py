import math

import cvxpy as cp
import numpy as np
import pytest
import scipy.sparse as sp

import convexrml
from convexrml.errors import InvalidInputError, UnsupportedError
from convexrml.export import FORMATS, write_program
from convexrml.formulations import KNearestPerturbation, MaxMinRadius, MinimalPerturbation, RobustHinge
from convexrml.standard_forms import conic_form, quadratic_form
from convexrml.triplets import Triplets


def perturbation(norm, box=None):
    rng = np.random.default_rng(3)
    X, y = rng.standard_normal((24, 3)), np.arange(24) % 2
    model = convexrml.NearestNeighbors().fit(X, y)
    return MinimalPerturbation(model, X[0] + 0.1, 0, negative=5, norm=norm, box=box)


def vote():
    rng = np.random.default_rng(4)
    X, y = rng.standard_normal((16, 2)), np.arange(16) % 2
    model = convexrml.NearestNeighbors(3).fit(X, y)
    z = X[2]
    return KNearestPerturbation(model, z, int(model.predict(z[None])[0]))


def hinge(norm):
    rng = np.random.default_rng(5)
    X = rng.standard_normal((12, 3))
    return RobustHinge(Triplets.from_indices(X, range(8), range(1, 9), range(3, 11)), tau=0.2, norm=norm)


# Each reader rebuilds the program from nothing but the file, and solves it: the optimum is that of the original.


def optimum_of_arrays(path):
    held = np.load(path)

    def matrix(name):
        parts = tuple(held[f"{name}_{part}"] for part in ("data", "indices", "indptr"))
        return sp.csc_matrix(parts, shape=tuple(held[f"{name}_shape"]))

    if "c" in held:
        x = cp.Variable(len(held["c"]))
        rows = cone_rows(
            held["b"] - matrix("A") @ x,
            [("L=", int(held["zero"])), ("L+", int(held["nonnegative"]))]
            + [("Q", int(size)) for size in held["second_order"]]
            + [("S", int(order)) for order in held["semidefinite"]],
        )
        return solved(cp.Minimize(held["c"] @ x + float(held["offset"])), rows)
    n = len(held["q"])
    x = cp.Variable(n)
    whole = held["integers"].tolist()
    values = cp.Variable(len(whole), integer=True) if whole else None
    P = matrix("P").toarray()
    rows = [matrix("A") @ x == held["b"]] if len(held["b"]) else []  # older cvxpy has no constants without rows
    rows += [matrix("G") @ x <= held["h"]] if len(held["h"]) else []
    rows += [x[whole] == values] if whole else []
    for sign, ends in ((1, held["upper"]), (-1, held["lower"])):
        there = np.flatnonzero(np.isfinite(ends))
        rows += [sign * x[there] <= sign * ends[there]] if len(there) else []
    objective = cp.quad_form(x, cp.psd_wrap(P)) / 2 + held["q"] @ x + float(held["offset"])
    return solved(cp.Minimize(objective), rows, "SCIP" if whole else "CLARABEL")


def cone_rows(slack, cones):
    rows, start = [], 0
    for kind, size in cones:
        length = size * (size + 1) // 2 if kind == "S" else size
        part = slack[start : start + length]
        start += length
        if not length:
            continue
        if kind == "S":
            column, row = np.triu_indices(size)  # the lower triangle, column by column
            weight = np.where(row == column, 1.0, math.sqrt(0.5))
            M = cp.Variable((size, size), symmetric=True)
            rows += [
                M >> 0,
                cp.hstack([M[a, b] for a, b in zip(row, column, strict=True)]) == cp.multiply(weight, part),
            ]
        else:
            rows.append(
                {"L=": lambda p: p == 0, "L+": lambda p: p >= 0, "Q": lambda p: cp.SOC(p[0], p[1:])}[kind](part)
            )
    return rows


def optimum_of_sdpa(path):
    lines = path.read_text().splitlines()
    m, blocks = int(lines[0]), [int(size) for size in lines[2].split()]
    c = np.array(lines[3].split(), dtype=float)
    F = [[np.zeros((abs(size), abs(size))) for size in blocks] for _ in range(m + 1)]
    for line in lines[4:]:
        matrix, block, i, j, value = line.split()
        for a, b in {(int(i), int(j)), (int(j), int(i))}:
            F[int(matrix)][int(block) - 1][a - 1, b - 1] += float(value)
    x, rows = cp.Variable(m), []
    for number, size in enumerate(blocks):
        X = sum(x[k] * F[k + 1][number] for k in range(m)) - F[0][number]
        assert size > 0 or all(np.array_equal(f[number], np.diag(np.diag(f[number]))) for f in F)
        rows.append(X >> 0 if size > 0 else cp.diag(X) >= 0)
    return solved(cp.Minimize(c @ x), rows)


def optimum_of_cbf(path):
    text = path.read_text().split("\n\n")
    parts = {}
    for part in text:
        lines = [line for line in part.splitlines() if line and not line.startswith("#")]
        if lines:
            parts[lines[0]] = [line.split() for line in lines[1:]]
    n = int(parts["VAR"][0][0])
    assert parts["OBJSENSE"] == [["MIN"]] and {kind for kind, _ in parts["VAR"][1:]} == {"F"}
    x, c = cp.Variable(n), np.zeros(n)
    for j, value in parts["OBJACOORD"][1:]:
        c[int(j)] = float(value)
    rows = []
    if "CON" in parts:
        m = int(parts["CON"][0][0])
        A, b = np.zeros((m, n)), np.zeros(m)
        for i, j, value in parts["ACOORD"][1:]:
            A[int(i), int(j)] = float(value)
        for i, value in parts.get("BCOORD", [[]])[1:]:
            b[int(i)] = float(value)
        rows += cone_rows(A @ x + b, [(kind, int(size)) for kind, size in parts["CON"][1:]])
    for number, (size,) in enumerate(parts.get("PSDCON", [[]])[1:]):
        order = int(size)
        H = np.zeros((n + 1, order, order))
        entries = [(int(j), *rest) for k, j, *rest in parts["HCOORD"][1:] if int(k) == number]
        entries += [(n, *rest) for k, *rest in parts.get("DCOORD", [[]])[1:] if int(k) == number]
        for j, a, b_, value in entries:
            H[j, int(a), int(b_)] = H[j, int(b_), int(a)] = float(value)
        rows.append(sum(x[j] * H[j] for j in range(n)) + H[n] >> 0)
    return solved(cp.Minimize(c @ x), rows)


def optimum_of_mps(path):
    import highspy

    solver = highspy.Highs()
    solver.setOptionValue("output_flag", False)
    assert solver.readModel(str(path)) == highspy.HighsStatus.kOk
    assert solver.run() == highspy.HighsStatus.kOk
    assert solver.getModelStatus() == highspy.HighsModelStatus.kOptimal
    return solver.getInfo().objective_function_value


def optimum_by_gurobi(path):
    import gurobipy

    with gurobipy.Env(params={"OutputFlag": 0}) as env, gurobipy.read(str(path), env) as model:
        model.optimize()
        assert model.Status == gurobipy.GRB.OPTIMAL
        return model.ObjVal


def solved(objective, rows, solver="CLARABEL"):
    problem = cp.Problem(objective, rows)
    problem.solve(solver=solver)
    return problem.value


READERS = {"npz": optimum_of_arrays, "mps": optimum_of_mps, "cbf": optimum_of_cbf, "dat-s": optimum_of_sdpa}
PROGRAMS = {
    "qp": lambda: perturbation(2),
    "qp in a box": lambda: perturbation(2, ([-4.0, -4.0, -math.inf], 4.0)),
    "lp, 1": lambda: perturbation(1),
    "lp, inf": lambda: perturbation(np.inf),
    "hinge, 2": lambda: hinge(2),
    "hinge, inf": lambda: hinge(np.inf),
}


@pytest.mark.parametrize("ending", list(READERS))
@pytest.mark.parametrize("name", list(PROGRAMS))
def test_what_is_written_has_the_same_optimum_when_read_back(name, ending, tmp_path):
    program = PROGRAMS[name]()
    if ending == "mps" and name.startswith("hinge"):
        with pytest.raises(InvalidInputError, match="cannot hold a program of the class SDP; use .npz, .cbf, .dat-s"):
            program.write(tmp_path / "p.mps")
        return
    if ending == "cbf":
        pytest.importorskip("mosek")
    path = program.write(tmp_path / f"p.{ending}")
    program.problem.solve(solver="CLARABEL")
    assert READERS[ending](path) == pytest.approx(program.problem.value, rel=1e-5, abs=1e-6)  # Clarabel's at defaults


def test_a_vote_is_written_with_its_integers(tmp_path):
    pytest.importorskip("gurobipy")
    pytest.importorskip("pyscipopt")
    program = vote()
    program.problem.solve(solver="SCIP")
    value = optimum_of_arrays(program.write(tmp_path / "vote.npz"))
    assert value == pytest.approx(program.problem.value, rel=1e-5)  # SCIP's feasibility tolerance is 1e-6
    mosek = pytest.importorskip("mosek")
    path = program.write(tmp_path / "vote.mps")
    with mosek.Env() as env, env.Task() as task:
        task.readdata(str(path))
        form = quadratic_form(program.problem)
        assert task.getnumvar() == len(form.q)
        assert task.getnumintvar() == len(form.integers)
        assert task.getnumcon() == len(form.b) + len(form.h)
        assert task.getnumqobjnz() == sp.tril(form.P).nnz
    assert optimum_by_gurobi(path) == pytest.approx(program.problem.value, rel=1e-5)  # small enough without a licence
    with pytest.raises(InvalidInputError, match="cannot hold a program of the class MIQP; use .mps, .npz"):
        program.write(tmp_path / "vote.cbf")


def test_a_question_of_the_bisection_can_be_written_too(tmp_path):
    X = np.random.default_rng(6).standard_normal((9, 2))
    program = MaxMinRadius(Triplets.from_indices(X, [0, 1], [2, 3], [4, 5]))
    assert conic_form(program.problem).semidefinite == (2,)
    program.write(tmp_path / "question.npz")


def test_names_and_programs_that_cannot_be_written(tmp_path):
    program = perturbation(2)
    with pytest.raises(InvalidInputError, match=r"^path: 'p.lp' .*\.mps, \.npz, \.cbf, \.dat-s"):
        program.write(tmp_path / "p.lp")
    x = cp.Variable()
    with pytest.raises(InvalidInputError, match="no value: p"):
        write_program(cp.Problem(cp.Minimize(x), [x >= cp.Parameter(name="p")]), tmp_path / "p.mps")
    with pytest.raises(InvalidInputError, match="beyond SDP; use none"):
        write_program(cp.Problem(cp.Minimize(cp.exp(x))), tmp_path / "p.npz")
    with pytest.raises(UnsupportedError, match="has cones"):
        quadratic_form(hinge(2).problem)
    assert set(FORMATS) == set(READERS)
