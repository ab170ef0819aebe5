"""The table of the programs' times is measured on programs that close."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "benchmarks"))

import bench_programs  # noqa: E402


def test_table_has_a_row_for_each_solver(capsys):
    bench_programs.main(sizes=(40,), features=(3,), norms=("2", "inf"))
    rows = capsys.readouterr().out.splitlines()
    assert len(rows) == 2 + 2 * len(bench_programs.SOLVERS)
    row = bench_programs.measure(40, 3, "2", "clarabel", "accurate")
    assert row.gap <= 5e-9
    assert row.cpu_seconds > 0
