"""The small comparison of solvers and the page made from it: ``python benchmarks/solver_comparison.py``.

Results that are there are kept, and only the page is made anew; ``--fresh`` measures all of it again (some minutes on
two processors).
"""

from __future__ import annotations

import gzip
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
if str(HERE.parent) not in sys.path:  # this checkout is what is measured, installed or not
    sys.path.insert(0, str(HERE.parent))

import click  # noqa: E402

from convexrml.compare.families import FAMILIES  # noqa: E402
from convexrml.compare.guide import guide  # noqa: E402
from convexrml.compare.main import compare  # noqa: E402
from convexrml.compare.rows import read_rows  # noqa: E402
from convexrml.compare.runner import Limits  # noqa: E402
from convexrml.documents.markdown import write_markdown  # noqa: E402
from convexrml.ledger import Ledger  # noqa: E402
from convexrml.profiles import load_profiles  # noqa: E402
from convexrml.study.report import progress_bars  # noqa: E402

COMMAND = "python benchmarks/solver_comparison.py"
RESULTS = HERE / "results" / "compare-small.db.gz"  # gunzip it for `convexrml compare --report`
LIMITS = Limits(seconds=20.0)
SEEDS = (0, 1)


def write_guide(results: Path, docs: Path) -> list[Path]:
    """Write ``solvers.md`` and its pictures into a folder."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "results.db"
        file.write_bytes(gzip.decompress(results.read_bytes()))
        with Ledger(file) as ledger:
            rows, facts = read_rows(ledger), ledger.facts
    machine, versions, limits = facts["machine"], facts["versions"], facts["limits"]
    said = (
        f"{machine['processor']}, {limits['jobs']} solves at a time with {limits['threads']} thread each on "
        f"{machine['cores']} cores (load {machine['load_at_start']} at the start); "
        + ", ".join(f"{name} {version}" for name, version in versions.items())
        + "."
    )
    return write_markdown(guide(rows, limits["seconds"], load_profiles(), COMMAND, said), docs / "solvers.md")


@click.command()
@click.option("--fresh", is_flag=True, help="Measure all of it again.")
@click.option("-j", "--jobs", type=click.IntRange(1), default=2, show_default=True, help="Solves at a time.")
@click.option("--results", type=click.Path(dir_okay=False, path_type=Path), default=RESULTS, help="File of results.")
@click.option("--docs", type=click.Path(file_okay=False, path_type=Path), default=HERE.parent / "docs")
def main(fresh: bool, jobs: int, results: Path, docs: Path) -> None:
    """Measure the small comparison, and write the page "How to choose a solver" from it."""
    results.parent.mkdir(parents=True, exist_ok=True)
    if fresh or not results.is_file():
        file = results.with_suffix("")  # stays until all is done: a run that was killed goes on where it was
        with progress_bars(None, False) as watch:
            compare(file, list(FAMILIES), seeds=SEEDS, limits=LIMITS, jobs=jobs, command=COMMAND, progress=watch)
        with Ledger(file) as ledger:
            ledger.compact()
        results.write_bytes(gzip.compress(file.read_bytes(), mtime=0))
        file.unlink()
    for path in write_guide(results, docs):
        click.echo(f"Written: {path.name}")


if __name__ == "__main__":
    main()
