"""What is packaged is what is in the tree, and the project's files agree with each other."""

import ast
import re
import tomllib
from importlib import import_module, resources
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "convexrml"
SOLVERS = ROOT / "solvers"
MAX_LINES = 350

MODULES = sorted(PACKAGE.rglob("*.py")) + sorted(SOLVERS.glob("*.py"))
PUBLIC_MODULES = [p for p in MODULES if p.name == "__init__.py" or not p.name.startswith("_")]


def relative(path):
    return path.relative_to(ROOT).as_posix()


@pytest.fixture(scope="module")
def pyproject():
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def version():
    """The literal in `convexrml/__init__.py`, read without importing, as the build reads it."""
    for node in ast.parse((PACKAGE / "__init__.py").read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and [ast.unparse(t) for t in node.targets] == ["__version__"]:
            return ast.literal_eval(node.value)
    raise AssertionError("convexrml/__init__.py has no literal __version__")


def test_every_package_of_the_tree_is_listed(pyproject):
    found = {relative(p.parent).replace("/", ".") for p in PACKAGE.rglob("__init__.py")} | {"convexrml.solvers"}
    assert sorted(pyproject["tool"]["setuptools"]["packages"]) == sorted(found)


def test_no_folder_with_modules_lacks_its_init():
    folders = {p.parent for p in MODULES}
    assert [relative(f) for f in folders if not (f / "__init__.py").is_file()] == []


def test_solvers_is_mapped_and_never_a_module_of_the_package(pyproject):
    assert pyproject["tool"]["setuptools"]["package-dir"] == {"convexrml.solvers": "solvers"}
    assert not (PACKAGE / "solvers.py").exists()
    assert not (PACKAGE / "solvers").exists()


def test_every_data_file_is_listed(pyproject):
    data = pyproject["tool"]["setuptools"]["package-data"]
    listed = {p for pattern in data["convexrml"] for p in PACKAGE.glob(pattern)}
    listed |= {p for pattern in data["convexrml.solvers"] for p in SOLVERS.glob(pattern)}
    present = {
        p
        for folder in (PACKAGE, SOLVERS)
        for p in folder.rglob("*")
        if p.is_file() and p.suffix != ".py" and "__pycache__" not in p.parts
    }
    assert {relative(p) for p in present} == {relative(p) for p in listed}
    assert any(p.suffix == ".toml" for p in listed)


def test_installed_package_has_every_profile():
    try:
        folder = resources.files("convexrml.solvers")
    except ModuleNotFoundError:
        pytest.skip("convexrml is not installed")
    installed = {entry.name for entry in folder.iterdir() if entry.name.endswith(".toml")}
    assert installed == {p.name for p in SOLVERS.glob("*.toml")}


def test_versions_agree(pyproject, version):
    assert "version" not in pyproject["project"]
    assert pyproject["project"]["dynamic"] == ["version"]
    assert pyproject["tool"]["setuptools"]["dynamic"]["version"] == {"attr": "convexrml.__version__"}
    assert import_module("convexrml").__version__ == version
    citation = re.search(r"^version: (.+)$", (ROOT / "CITATION.cff").read_text(encoding="utf-8"), re.MULTILINE)
    assert citation is not None and citation[1].strip("\"'") == version
    changelog = re.search(r"^## (.+)$", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert changelog is not None and version in re.findall(r"\d+\.\d+\.\d+", changelog[1])


def test_licence_is_shipped(pyproject):
    assert pyproject["project"]["license"] == "BSD-3-Clause"
    for name in pyproject["project"]["license-files"]:
        assert (ROOT / name).is_file()


def test_console_script_exists(pyproject):
    module, _, function = pyproject["project"]["scripts"]["convexrml"].partition(":")
    assert callable(getattr(import_module(module), function))


@pytest.mark.parametrize("path", PUBLIC_MODULES, ids=relative)
def test_public_module_has_a_docstring(path):
    assert ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))


@pytest.mark.parametrize("path", MODULES, ids=relative)
def test_module_stays_short(path):
    assert len(path.read_text(encoding="utf-8").splitlines()) <= MAX_LINES


@pytest.mark.parametrize("path", MODULES, ids=relative)
def test_module_never_imports_top_level_solvers(path):
    imported = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            imported |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            imported.add((node.module or "").partition(".")[0])
    assert "solvers" not in imported


@pytest.mark.parametrize("target", ["demo", "test"])
def test_readme_commands_are_makefile_targets(target):
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    code = "\n".join(re.findall(r"^```[^\n]*\n(.*?)^```", readme, re.MULTILINE | re.DOTALL))
    assert re.search(rf"^\s*(?:\$ )?make {target}\b", code, re.MULTILINE)
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert re.search(rf"^{target}:", makefile, re.MULTILINE)
