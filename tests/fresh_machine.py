"""Do what the README says on a machine as new as can be made here, and install wheel and sdist on it.

Run by `make fresh`, not collected by pytest.  Needs an index to install from; takes a quarter of an hour and some GB of
disk for as long.  The machine: a copy of the checkout, an empty home (so no caches and no settings of the user), a PATH
that holds what a Debian with `make` has and no compiler, `CC=/bin/false`.  What it does there:

1. `make demo`, the README's first command, and looks at what that wrote;
2. `make test`, its second, with the options after `--` as PYTEST_ARGS (all fast tests if there are none);
3. `make wheel`: builds wheel and sdist, imports every module of the wheel;
4. wheel and sdist, each in an environment of its own: `convexrml certify`, on the digits.
"""

import argparse
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from check_wheel import LEFT_OUT, ROOT, only

TOOLS = (
    "bash basename cat chmod cp cut date dirname echo env expand expr false find grep head id ls mkdir mktemp mv nproc "
    "printf pwd readlink rm rmdir sed sh sleep sort tail tar tee touch tr true uname wc which make"
).split()  # Debian's coreutils and friends, and make
COMPILERS = ("cc", "c++", "gcc", "g++", "clang", "clang++", "gfortran", "rustc", "cargo", "cmake", "ninja")
KEPT = ("LANG", "LC_ALL", "TERM", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE")  # and PIP_...: where the index is


class Machine:
    """A folder that stands in for a machine.

    Parameters
    ----------
    folder : Path
        Empty.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.home, tools = folder, folder / "home", folder / "bin"
        for place in (self.home, tools, folder / "tmp"):
            place.mkdir()
        for tool in TOOLS:
            found = shutil.which(tool)
            if found is not None:
                (tools / tool).symlink_to(found)
        kept = {name: value for name, value in os.environ.items() if name in KEPT or name.startswith("PIP_")}
        self.environment = kept | {
            "HOME": str(self.home),
            "PATH": str(tools),
            "TMPDIR": str(folder / "tmp"),
            "CC": "/bin/false",
            "CXX": "/bin/false",
        }
        seen = [name for name in COMPILERS if shutil.which(name, path=str(tools))]
        assert not seen, f"compilers on the PATH: {seen}"

    def run(self, *command: str | Path, cwd: Path) -> None:
        """Run a command here; stop everything if it fails, and show what it printed."""
        shown = shlex.join(str(part) for part in command).replace(str(self.folder), "~")
        print(f"$ {shown}", end="", flush=True)
        began = time.monotonic()
        done = subprocess.run(
            [str(part) for part in command],
            cwd=cwd,
            env=self.environment,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        last = done.stdout.strip().splitlines()[-1:]
        print(f"   [{time.monotonic() - began:.0f} s] {''.join(last).strip('= ')[:100]}")
        if done.returncode:
            sys.exit(f"{done.stdout}\nfresh_machine: {shown} failed with status {done.returncode}")

    def certify_with(self, package: Path, python: str, name: str) -> None:
        """Install a package into an environment of its own, and certify the digits outside of every checkout."""
        environment, elsewhere = self.folder / name, self.folder / f"{name}-work"
        elsewhere.mkdir()
        self.run(python, "-m", "venv", environment, cwd=elsewhere)
        self.run(environment / "bin/python", "-m", "pip", "install", "--quiet", package, cwd=elsewhere)
        self.run(environment / "bin/convexrml", "certify", "--limit", "20", "--out", "out", cwd=elsewhere)
        require(elsewhere / "out" / "points.csv", elsewhere / "out" / "robust_error.png")


def require(*files: Path) -> None:
    """Stop if a file is missing or empty."""
    for file in files:
        if not file.is_file() or not file.stat().st_size:
            sys.exit(f"fresh_machine: {file} was not written")


def main() -> None:
    """Set the machine up, and use it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--python", default=sys.executable, help="the machine's Python (default: this one)")
    parser.add_argument("pytest", nargs="*", help="options of pytest for `make test`")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="convexrml-fresh-") as folder:
        machine = Machine(Path(folder).resolve())
        checkout = shutil.copytree(ROOT, machine.folder / "checkout", ignore=LEFT_OUT)
        python = f"PYTHON={arguments.python}"
        machine.run("make", python, "demo", cwd=checkout)
        require(checkout / "out" / "points.csv", checkout / "out" / "robust_error.png")
        machine.run("make", python, "test", f"PYTEST_ARGS={shlex.join(arguments.pytest)}", cwd=checkout)
        machine.run("make", python, "wheel", cwd=checkout)
        machine.certify_with(only(checkout / "dist", "*.whl"), arguments.python, "wheel")
        machine.certify_with(only(checkout / "dist", "*.tar.gz"), arguments.python, "sdist")
    print("fresh_machine: passed")


if __name__ == "__main__":
    main()
