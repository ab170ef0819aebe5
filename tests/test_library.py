import json

import numpy as np
import pytest
from click.testing import CliRunner
from test_export import READERS

from convexrml.cli import main
from convexrml.compare.families import FAMILIES, Instance, get_family
from convexrml.compare.library import write_library
from convexrml.errors import InvalidInputError
from convexrml.study.certificates import check_certificates


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    pytest.importorskip("gurobipy")
    folder = tmp_path_factory.mktemp("library")
    families = ["perturbation-qp", "perturbation-lp", "knn-miqp", "robust-hinge"]
    files = write_library(folder, families, sizes=[20], seeds=[0, 1], formats=["npz", "dat-s"])
    assert {path.name for path in files} == {path.name for path in folder.iterdir()}
    return folder


def entries(library):
    return json.loads((library / "index.json").read_text(encoding="utf-8"))["instances"]


def test_every_file_has_the_optimum_that_the_index_names(library):
    pytest.importorskip("pyscipopt")
    assert len(entries(library)) == 8
    for entry in entries(library):
        lower, upper = entry["optimum"]
        assert lower <= upper <= lower + 1e-7 * abs(lower)
        for name in entry["files"]:
            found = READERS[name.partition(".")[2]](library / name)
            # What is left is the reader's solver: Clarabel at its defaults, SCIP with a feasibility tolerance of 1e-6.
            assert found == pytest.approx(upper, rel=1e-5)


def test_certificates_pass_the_checker_with_the_data_beside_them(library):
    with_proof = [entry for entry in entries(library) if "certificate" in entry]
    assert {entry["family"] for entry in with_proof} == {"perturbation-qp", "knn-miqp"}
    for entry in with_proof:
        (checked,) = check_certificates([library / entry["certificate"]], library / entry["data_file"])
        assert checked.accepted, checked
        claimed = [checked.claim["lower"], checked.claim["upper"]]
        assert claimed == pytest.approx(entry["radius"], rel=1e-9)  # the search's width of an exact radius


def test_the_data_are_those_of_the_instance(library):
    entry = next(entry for entry in entries(library) if entry["name"] == "perturbation-qp-20-1")
    held = np.load(library / entry["data_file"])
    family = get_family("perturbation-qp")
    plan = family.plan(Instance("perturbation-qp", 20, 1))
    program = family.build(Instance("perturbation-qp", 20, 1), plan)
    assert entry["data"] == plan["data"]
    assert np.array_equal(held["X"], program.model.training_points_)
    assert np.array_equal(held["z"], program.z)


def test_what_cannot_be_written(tmp_path):
    with pytest.raises(InvalidInputError, match="max-min is a bisection"):
        write_library(tmp_path, ["max-min"])
    with pytest.raises(InvalidInputError, match="robust-hinge is of the class SDP, which needs one of npz, cbf, dat-s"):
        write_library(tmp_path, ["robust-hinge"], formats=["mps"])
    with pytest.raises(InvalidInputError, match="^formats: unknown name 'lp'"):
        write_library(tmp_path, ["robust-hinge"], formats=["lp"])
    assert "max-min" in FAMILIES


def test_from_the_command_line(tmp_path):
    line = f"instances --family perturbation-lp --sizes 20 --seeds 1 --formats mps --out {tmp_path} --no-progress"
    ended = CliRunner().invoke(main, line.split())
    assert ended.exit_code == 0, ended.output
    assert "3 files" in ended.output and "index.json" in ended.output
    assert READERS["mps"](tmp_path / "perturbation-lp-20-0.mps") == pytest.approx(entries(tmp_path)[0]["optimum"][0])
    ended = CliRunner().invoke(main, ["instances", "--sizes", "2.5"])
    assert ended.exit_code == 2 and "whole numbers" in ended.output
