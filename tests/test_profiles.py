import dataclasses
import sys
from pathlib import Path

import pytest

from convexrml import profiles
from convexrml.errors import InvalidInputError, ProfileError, SolverMissingError, UnknownSolverError
from convexrml.profiles import also_from, get_profile, load_profiles, require_installed
from convexrml.solver_profile import PROBLEM_CLASSES

SOLVERS = tuple("clarabel cvxopt daqp ecos gurobi highs mosek osqp piqp proxqp qoco scip scs sdpa".split())

PROFILE = """
title = "Made up"
cvxpy_name = "MADE_UP"
modules = ["no_such_module"]
problem_classes = ["LP", "QP"]
method = "magic"
licence = "MIT"
needs_licence = false
install = "pip install made-up"
homepage = "https://example.org"
warm_start = false

[accuracies.fast]
tolerance = 1e-3
options = {}

[accuracies.accurate]
tolerance = 1e-6
options = { eps = 1e-9, nested = { tries = [1, 2] } }
"""


def written(directory: Path, text: str = PROFILE, name: str = "made_up") -> Path:
    (directory / f"{name}.toml").write_text(text, encoding="utf-8")
    return directory


def test_every_profile_parses_and_they_are_sorted():
    assert tuple(load_profiles()) == SOLVERS


@pytest.mark.parametrize("name", SOLVERS)
def test_what_every_profile_says(name):
    profile = get_profile(name)
    assert profile.name == name
    assert set(profile.problem_classes) <= set(PROBLEM_CLASSES)
    assert profile.accuracies["accurate"].tolerance < profile.accuracies["fast"].tolerance
    assert profile.needs_licence == (name in ("mosek", "gurobi"))
    assert profile.install.startswith("pip install convexrml[" if profile.needs_licence else "pip install ")
    hash(profile)


def test_finding_out_what_is_installed_imports_nothing():
    before = set(sys.modules)
    for profile in load_profiles().values():
        assert profile.installed == (not profile.missing_modules)
        assert (profile.version() is None) == (not profile.installed)
    assert not {module for profile in load_profiles().values() for module in profile.modules} & (
        set(sys.modules) - before
    )


def test_profiles_are_frozen():
    profile = get_profile("clarabel")
    with pytest.raises(dataclasses.FrozenInstanceError):
        profile.title = "another"
    with pytest.raises(TypeError):
        profile.accuracies["fast"].options["tol_feas"] = 1.0
    with pytest.raises(TypeError):
        load_profiles()["another"] = profile


def test_nested_options_are_read_and_frozen(tmp_path):
    profile = get_profile("made_up", written(tmp_path))
    nested = profile.accuracies["accurate"].options["nested"]
    assert nested["tries"] == (1, 2)
    with pytest.raises(TypeError):
        nested["tries"] = ()
    assert profile.known_issues == () and profile.option_names == ()


def test_names_are_case_insensitive_and_misspelt_ones_get_a_hint():
    assert get_profile("CLARABEL") is get_profile("clarabel")
    with pytest.raises(UnknownSolverError, match=r"did you mean 'clarabel'.*highs, mosek"):
        get_profile("clarabell")
    with pytest.raises(InvalidInputError, match="^solver: "):
        get_profile(None)


def test_a_missing_solver_gives_the_install_line(tmp_path):
    profile = get_profile("made_up", written(tmp_path))
    assert profile.missing_modules == ("no_such_module",)
    assert not profile.installed
    assert profile.version() is None
    with pytest.raises(SolverMissingError, match="'no_such_module'.*pip install made-up"):
        require_installed(profile)


def test_the_version_of_a_module_whose_distribution_has_another_name(tmp_path):
    text = PROFILE.replace("no_such_module", "sklearn")
    pytest.importorskip("sklearn")
    assert get_profile("made_up", written(tmp_path, text)).version()


@pytest.mark.parametrize(
    ("found", "replaced", "message"),
    [
        ("method =", "metod =", r"made_up\.toml: metod: unknown key; did you mean 'method'"),
        ('method = "magic"\n', "", r"made_up\.toml: method: missing key"),
        ('method = "magic"', "method = 3", r"made_up\.toml: method: expected a text"),
        ('method = "magic"', 'method = ""', r"made_up\.toml: method: expected a text"),
        ('modules = ["no_such_module"]', 'modules = "no_such_module"', "modules: expected a list"),
        ('modules = ["no_such_module"]', "modules = []", "modules: expected a list"),
        ('modules = ["no_such_module"]', 'modules = ["a.b"]', "modules: expected names of top-level modules"),
        ('["LP", "QP"]', '["LP", "GP"]', "problem_classes: unknown class of programs 'GP'"),
        ("warm_start = false", "warm_start = 0", "warm_start: expected true or false"),
        ("needs_licence = false", "needs_licence = true", "licence_page"),
        ("[accuracies.fast]", "[accuracies.quick]", r"accuracies\.fast: missing key"),
        ("tolerance = 1e-3", 'tolerance = "1e-3"', r"made_up\.toml: accuracies\.fast\.tolerance: expected a number"),
        ("tolerance = 1e-3", "tolerance = true", r"accuracies\.fast\.tolerance: expected a number"),
        ("tolerance = 1e-3", "tolerance = -1e-3", r"accuracies\.fast\.tolerance: expected a number"),
        ("tolerance = 1e-3\n", "", r"accuracies\.fast\.tolerance: missing key"),
        ("options = {}", "options = 1", r"accuracies\.fast\.options: expected a table"),
        ("options = {}", "option = {}", r"accuracies\.fast\.option: unknown key"),
        ("[accuracies.fast]", "[errors]\noption = ['(']\n[accuracies.fast]", r"errors\.option: .*regular expression"),
        ("[accuracies.fast]", "[errors]\nother = ['x']\n[accuracies.fast]", r"errors\.other: unknown key"),
        ("[accuracies.fast]", "[[known_issue]]\nwhat = 'x'\n[accuracies.fast]", r"known_issue\.seen_with: missing key"),
        (
            "warm_start = false",
            "warm_start = false\ntime_limit_option = 'seconds'",
            "time_limit_option: expected a list",
        ),
        ("[accuracies.fast]", "[known_issue]\nwhat = 'x'\n[accuracies.fast]", "known_issue: expected tables"),
        ('title = "Made up"', "title = ", r"made_up\.toml: cannot be read as TOML"),
    ],
)
def test_what_is_wrong_in_a_profile_is_named(tmp_path, found, replaced, message):
    assert found in PROFILE
    with pytest.raises(ProfileError, match=message):
        load_profiles(written(tmp_path, PROFILE.replace(found, replaced, 1)))


def test_a_profile_that_is_not_text(tmp_path):
    (tmp_path / "made_up.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(ProfileError, match=r"made_up\.toml: cannot be read"):
        load_profiles(tmp_path)


def test_the_name_of_the_file_is_in_lower_case(tmp_path):
    with pytest.raises(ProfileError, match="lower case"):
        load_profiles(written(tmp_path, name="MadeUp"))


def test_folders_without_profiles(tmp_path):
    with pytest.raises(ProfileError, match="no solver profiles"):
        load_profiles(tmp_path)
    with pytest.raises(ProfileError, match="no such folder"):
        load_profiles(tmp_path / "nowhere")


def test_a_checkout_that_is_not_installed_reads_the_folder_beside_pyproject(monkeypatch, tmp_path):
    def not_installed(package):
        raise ModuleNotFoundError(package)

    monkeypatch.setattr(profiles.importlib.resources, "files", not_installed)
    monkeypatch.setattr(profiles, "__file__", str(tmp_path / "convexrml" / "profiles.py"))
    with pytest.raises(ProfileError, match="the solver profiles are missing"):
        profiles._own_directory()
    (tmp_path / "solvers").mkdir()
    assert profiles._own_directory() == tmp_path.resolve() / "solvers"


def test_a_time_limit_is_a_native_option_in_the_tables_that_the_solver_wants():
    assert get_profile("scip").time_limit(3) == {"limits/time": 3.0}
    assert get_profile("mosek").time_limit(0.5) == {"mosek_params": {"MSK_DPAR_OPTIMIZER_MAX_TIME": 0.5}}
    for seconds in (0, -1.0, float("nan")):
        with pytest.raises(InvalidInputError, match="^time_limit: needs a positive number"):
            get_profile("scip").time_limit(seconds)


def test_a_profile_without_the_option_has_no_time_limit(tmp_path):
    with pytest.raises(InvalidInputError, match="^time_limit: the profile of Made up names no option"):
        get_profile("made_up", written(tmp_path)).time_limit(1.0)


def test_profiles_of_a_folder_join_the_shipped_ones_for_a_while(tmp_path):
    with also_from(written(tmp_path)):
        assert tuple(load_profiles()) == tuple(sorted([*SOLVERS, "made_up"]))
        assert get_profile("made_up").title == "Made up"
    assert tuple(load_profiles()) == SOLVERS
    with also_from(None):
        assert tuple(load_profiles()) == SOLVERS


def test_a_joining_profile_must_not_hide_a_shipped_one(tmp_path):
    with pytest.raises(ProfileError, match=r"osqp\.toml has the name of a profile of convexrml's"):
        with also_from(written(tmp_path, name="osqp")):
            pass
