"""Build the wheel and the sdist, and check them where nobody can see the checkout.

Run by `make wheel`, not collected by pytest.  Needs the `build` package and an index to install from.  What it checks:

1. the wheel built from the tree and the wheel built out of the sdist hold the same files;
2. they hold every module and every data file of the tree, and nothing at top level but `convexrml`;
3. in a fresh virtual environment with only the declared dependencies, every module imports, the solver profiles are
   found, `import solvers` fails, and the console script runs.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import venv
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
MIN_PROFILES = 9
LEFT_OUT = shutil.ignore_patterns(".*", "__pycache__", "*.egg-info", "build", "dist", "out")

PROBE = f"""
import importlib, pkgutil, sys
from pathlib import Path

import convexrml
home = Path(convexrml.__file__).resolve()
assert home.is_relative_to(Path(sys.prefix).resolve()), f"convexrml was imported from {{home}}"

names = [m.name for m in pkgutil.walk_packages(convexrml.__path__, "convexrml.") if not m.name.endswith("__main__")]
for name in names:
    importlib.import_module(name)
assert "convexrml.solvers" in names, names

from convexrml.profiles import load_profiles
profiles = load_profiles()
assert len(profiles) >= {MIN_PROFILES}, f"only {{len(profiles)}} solver profiles are installed"

try:
    import solvers
except ModuleNotFoundError:
    pass
else:
    raise AssertionError("the wheel installs a top-level package `solvers`")
print(f"convexrml {{convexrml.__version__}}: {{len(names)}} modules import, {{len(profiles)}} solver profiles found")
"""


def run(*command: str | Path, cwd: Path, quiet: bool = False) -> None:
    """Run a command without the caller's Python settings; stop at a failure and show what it printed."""
    env = {k: v for k, v in os.environ.items() if k not in {"PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV"}}
    print("$", " ".join(Path(c).name if Path(c).is_absolute() else str(c) for c in command if "\n" not in str(c)))
    sys.stdout.flush()
    done = subprocess.run(
        [str(c) for c in command],
        cwd=cwd,
        env=env,
        text=True,
        stdout=subprocess.PIPE if quiet else None,
        stderr=subprocess.STDOUT if quiet else None,
    )
    if done.returncode:
        sys.exit(f"{done.stdout or ''}\ncheck_wheel: the command above failed with status {done.returncode}")


def files_of(wheel: Path) -> set[str]:
    """Return the files that the wheel installs, without its own records."""
    with zipfile.ZipFile(wheel) as archive:
        return {name for name in archive.namelist() if ".dist-info/" not in name}


def files_of_tree(tree: Path) -> set[str]:
    """Return the files that a wheel of this tree must hold."""
    package = {p.relative_to(tree).as_posix() for p in (tree / "convexrml").rglob("*.py")}
    solvers = {f"convexrml/solvers/{p.name}" for p in (tree / "solvers").iterdir() if p.suffix in {".py", ".toml"}}
    return package | solvers | {"convexrml/py.typed"}


def only(folder: Path, pattern: str) -> Path:
    """Return the one file that matches."""
    (found,) = folder.glob(pattern)
    return found


def build(work: Path) -> tuple[Path, Path]:
    """Build the sdist, a wheel out of it, and a wheel from the tree; compare; return one wheel and the sdist."""
    for outdir, options in (("from_sdist", []), ("from_tree", ["--wheel"])):
        # Each from a copy of its own: build/ and egg-info of another build would slip into the wheel.
        tree = shutil.copytree(ROOT, work / f"copy_{outdir}", ignore=LEFT_OUT)
        run(sys.executable, "-m", "build", *options, "--outdir", work / outdir, tree, cwd=work, quiet=True)
    wheel, sdist = only(work / "from_sdist", "*.whl"), only(work / "from_sdist", "*.tar.gz")
    expected = files_of_tree(tree)
    for candidate in (wheel, only(work / "from_tree", "*.whl")):
        found = files_of(candidate)
        if found != expected:
            sys.exit(
                f"check_wheel: {candidate.parent.name}/{candidate.name}\n"
                f"  missing:    {sorted(expected - found)}\n"
                f"  unexpected: {sorted(found - expected)}"
            )
    print(f"{wheel.name}: {len(expected)} files, the same from the tree and from the sdist")
    return wheel, sdist


def check_installed(wheel: Path, work: Path) -> None:
    """Install the wheel with its dependencies into a fresh environment and use it there."""
    environment, elsewhere = work / "venv", work / "elsewhere"
    elsewhere.mkdir()
    venv.create(environment, with_pip=True)
    python = environment / "bin" / "python"
    run(python, "-m", "pip", "--disable-pip-version-check", "install", "--quiet", wheel, cwd=elsewhere)
    run(python, "-c", PROBE, cwd=elsewhere)
    run(environment / "bin" / "convexrml", "--help", cwd=elsewhere, quiet=True)
    run(environment / "bin" / "convexrml", "solvers", cwd=elsewhere)


def main() -> None:
    """Build, check, and keep the results if asked to."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dist", type=Path, help="folder that receives the checked wheel and sdist")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="convexrml-wheel-") as folder:
        work = Path(folder).resolve()
        wheel, sdist = build(work)
        check_installed(wheel, work)
        if arguments.dist:
            arguments.dist.mkdir(parents=True, exist_ok=True)
            for result in (wheel, sdist):
                shutil.copy2(result, arguments.dist)
    print("check_wheel: passed")


if __name__ == "__main__":
    main()
