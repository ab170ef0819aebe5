import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))

import bench_anytime  # noqa: E402
import bench_growth  # noqa: E402
import bench_k_nearest  # noqa: E402
import bench_paper  # noqa: E402
import bench_report  # noqa: E402
import bench_roads  # noqa: E402
import bench_timing  # noqa: E402
import certificates  # noqa: E402
import exact_radii  # noqa: E402
from bench_data import Sample, choose_samples, mixture  # noqa: E402
from click.testing import CliRunner  # noqa: E402

import convexrml  # noqa: E402

PLAN = exact_radii.make_plan(True, points=6, lp_points=1, program_points=1, growth_points=4)


@pytest.fixture(scope="module")
def sample():
    return mixture(60, 3, 12, classes=3)


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """A stand-in for torch and for the paper's code, which moves every point by one half along each axis."""
    (tmp_path / "torch.py").write_text("def set_num_threads(n):\n    pass\n")
    folder = tmp_path / "metric_robustness" / "evaluation" / "nn_only"
    folder.mkdir(parents=True)
    for package in (folder, folder.parent, folder.parents[1]):
        (package / "__init__.py").write_text("")
    (folder / "torch_exact.py").write_text(
        "import numpy as np\n"
        "class ExactSolverFactory:\n"
        "    def create(self, name, X, y, screening_check_size, device, verbose):\n"
        "        assert (name, device, verbose) == ('euclidean', 'cpu', False)\n"
        "        assert screening_check_size <= np.bincount(y).min()\n"
        "        return lambda z, label: np.full_like(z, 0.5)\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path
    for name in [name for name in sys.modules if name.split(".")[0] in ("torch", "metric_robustness")]:
        del sys.modules[name]


class TestTiming:
    @pytest.mark.parametrize(
        ("arguments", "threads"),
        [
            ([], 1),
            (["--threads", "3"], 3),
            (["--quick", "--threads=2"], 2),
            (["--threads"], 1),
            (["--threads", "x"], 1),
        ],
    )
    def test_threads_are_read_before_the_command_line_is_parsed(self, arguments, threads):
        assert bench_timing.threads_asked(arguments) == threads

    def test_limits_come_before_numpy_or_not_at_all(self):
        with pytest.raises(RuntimeError, match="numpy is loaded already"):
            bench_timing.limit_threads(1)

    def test_ratio_is_taken_within_each_repeat(self):
        slow = bench_timing.Timing("slow", 1, (2.0, 40.0, 6.0))
        fast = bench_timing.Timing("fast", 1, (1.0, 10.0, 2.0))
        assert slow.median == 6.0
        assert slow.range == (2.0, 40.0)
        assert slow.ratio_to(fast) == 3.0

    def test_short_calls_are_repeated_and_roads_alternate(self):
        calls = []
        roads = {"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}
        timings = bench_timing.time_together(roads, 10, 3, least_seconds=0.0)
        assert calls[4:] == ["a", "b"] * 3
        assert [len(timing.milliseconds) for timing in timings.values()] == [3, 3]

    def test_a_road_beyond_patience_is_timed_once(self):
        calls = []
        timing = bench_timing.time_slow("slow", lambda: calls.append(1), 1, 5, patience=0.0)
        assert len(calls) == len(timing.milliseconds) == 1


class TestData:
    def test_absent_sets_are_named_and_built_in_ones_take_their_place(self, tmp_path):
        samples, absent = choose_samples(["nowhere"], tmp_path)
        assert absent == ["nowhere"]
        assert [sample.name.split(",")[0] for sample in samples] == ["digits", "mixture"]
        for sample in samples:
            assert sample.Z.min() >= 0.0
            assert sample.Z.max() <= 1.0

    def test_svmlight_files_are_scaled_and_clipped(self, tmp_path):
        (tmp_path / "tiny").write_text("3 1:0 2:10\n5 1:4 2:20\n")
        (tmp_path / "tiny.t").write_text("5 1:8 2:15\n")
        import bz2

        for name in ("tiny", "tiny.t"):
            (tmp_path / f"{name}.bz2").write_bytes(bz2.compress((tmp_path / name).read_bytes()))
        (sample,), absent = choose_samples(["tiny"], tmp_path)
        assert not absent
        assert sample.X.tolist() == [[0.0, 0.0], [1.0, 1.0]]
        assert sample.Z.tolist() == [[1.0, 0.5]]
        assert (sample.y.tolist(), sample.t.tolist()) == ([0, 1], [1])

    def test_mixtures_are_seeded(self):
        assert np.array_equal(mixture(20, 3, 2).X, mixture(20, 3, 2).X)


class TestRoads:
    def test_every_road_is_timed_and_agrees(self, sample):
        result = bench_roads.measure_set(sample, PLAN)
        assert set(result.slow) == set(result.same_points)
        assert len(result.slow) == 6
        assert {bench_roads.BRUTE, bench_roads.SEARCH, bench_roads.BOX} <= set(result.timings)
        differences = [value for name, value in result.facts.items() if "difference" in name]
        assert len(differences) == 4
        assert max(differences) < 1e-6
        assert result.facts["intervals left open"] == 0

    def test_solvers_alone_solve_the_program_that_decides(self, sample):
        exact = bench_roads.search(sample, 1)()
        model = bench_roads.fitted(sample)
        query = int(np.flatnonzero(exact.negative >= 0)[0])
        A, b = bench_roads.binding_program(model, sample, exact, query)
        for call in (bench_roads.daqp_call, bench_roads.clarabel_call):
            solve = call(A, b)
            delta = solve()
            assert np.linalg.norm(delta) == pytest.approx(exact.radius[query], rel=1e-7)
            assert np.array_equal(delta, solve())


class TestPaper:
    def test_it_is_called_where_it_lies(self, sample, checkout):
        few = sample.head(2)
        radii = bench_paper.paper_radii(few, checkout, 1)()
        assert radii == pytest.approx([np.sqrt(3) / 2] * 2)

    def test_it_is_timed_in_the_same_run(self, sample, checkout):
        result = bench_roads.SetResult("", "", {}, {}, {}, {})
        result = bench_roads._with_paper(result, sample.head(2), PLAN, checkout)
        assert list(result.slow) == ["the paper's published code (float32)"]
        assert not result.notes

    def test_without_torch_one_line_says_so(self, sample, tmp_path, monkeypatch):
        monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
        result = bench_roads.SetResult("", "", {}, {}, {}, {})
        result = bench_roads._with_paper(result, sample.head(2), PLAN, tmp_path)
        assert result.notes == ("The paper's code was not timed: torch is not installed.",)
        assert not result.slow


class TestGrowth:
    def test_exponent_of_a_power_law(self):
        assert bench_growth.exponent([1, 10, 100], [2, 20, 200]) == pytest.approx(1.0)
        assert bench_growth.exponent([1, 10, 100], [3, 3 * 10**0.5, 30]) == pytest.approx(0.5)

    def test_times_for_every_size(self):
        plan = exact_radii.make_plan(True, growth_points=3)
        plan = bench_growth.dataclasses.replace(plan, sizes=(50, 100), dimensions=(2,))
        results = bench_growth.measure_growth(plan, memory=False)
        assert [(g.n, g.d) for g in results] == [(50, 2), (100, 2)]
        assert set(bench_growth.exponents(results)) == {
            f"{road}, d = 2" for road in (bench_roads.BRUTE, bench_roads.SEARCH)
        }

    def test_peak_memory_counts_the_training_points(self):
        peaks = bench_growth.peak_memory(mixture(20_000, 32, 2))
        assert list(peaks) == list(bench_growth.MEASURED)
        assert 0.9 < peaks["training points loaded"] / (8 * 20_000 * 32) < 2
        assert peaks["training points loaded"] <= peaks["model fitted"] <= peaks["after the search"]

    def test_speed_up_and_start(self, sample):
        assert list(bench_growth.measure_threads(sample, PLAN, [1, 2])) == [1, 2]
        assert [len(values) for values in bench_growth.measure_start(1).values()] == [1, 1]


@pytest.fixture(scope="module")
def digits():
    (sample,), absent = choose_samples(["digits"], Path("nowhere"))
    assert not absent
    return sample


@pytest.fixture(scope="module")
def nearest(digits):
    return bench_k_nearest.measure_nearest(digits, bench_k_nearest.NearestPlan(points=6, neighbors=(3, 5)))


class TestNearest:
    def test_cases(self):
        plan = bench_k_nearest.NearestPlan()
        euclidean = [(vote, k) for metric, vote, k in bench_k_nearest.cases("pendigits", plan) if metric == "Euclidean"]
        assert euclidean == [*(("majority", k) for k in (3, 5, 7, 11, 21)), ("plurality", 5), ("plurality", 7)]
        assert {vote for _, vote, _ in bench_k_nearest.cases("usps", plan)} == {"majority"}
        assert max(k for _, _, k in bench_k_nearest.cases("usps", plan)) == 11
        assert len(bench_k_nearest.cases("splice", plan)) == 8

    def test_it_times_what_the_library_finds(self, digits, nearest):
        assert [(r.metric, r.vote, r.k) for r in nearest] == bench_k_nearest.cases(
            "digits", bench_k_nearest.NearestPlan(neighbors=(3, 5))
        )
        some = bench_k_nearest.shuffled(digits, 6)
        euclidean = next(r for r in nearest if (r.vote, r.k, r.metric) == ("plurality", 5, "Euclidean"))
        exact = convexrml.exact_radius(convexrml.NearestNeighbors(5).fit(some.X, some.y), some.Z, some.t)
        assert euclidean.lower.tolist() == exact.lower.tolist()
        assert euclidean.nodes.tolist() == exact.solves.tolist()
        assert euclidean.status == tuple(status.name for status in exact.status)

    def test_every_radius_is_proven_between_bound_and_attack(self, nearest):
        for result in nearest:
            assert result.proven.all()
            assert (result.certified <= result.lower).all()
            assert (result.upper <= result.attack * (1 + 1e-9)).all()  # an exact radius is known to 1e-9
            assert result.exact_ms.shape == (6,)
            assert 0 < result.bound_ratio <= 1 <= result.attack_ratio
            assert result.attack_time_ratio > 0

    def test_the_learned_metric_is_seeded_and_of_low_rank(self, digits):
        L = bench_k_nearest.learned_components(digits)
        assert L.shape == (16, 64)
        assert np.array_equal(L, bench_k_nearest.learned_components(digits))

    def test_points_left_open_are_listed(self, digits):
        plan = bench_k_nearest.NearestPlan(points=3, neighbors=(11,), metrics=("Euclidean",), time_limit=0.0)
        report = bench_report.Report("", bench_timing.machine(), 1, [None])
        report.nearest = bench_k_nearest.measure_nearest(digits, plan)
        assert set(report.nearest[0].status) == {"TIME_LIMIT"}
        text = bench_report.markdown(report)
        assert "| digits (1257 × 64) | Euclidean | majority | 11 | 0 % |" in text
        assert text.count("| TIME_LIMIT |") == 3

    def test_bounds_against_time(self, digits, nearest, tmp_path):
        traces = bench_anytime.trace_hardest([digits], nearest, time_limit=10.0)
        assert len(traces) == 3
        for trace in traces:
            assert trace.closed
            assert len(trace.nodes) == len(trace.seconds) == len(trace.lower) == len(trace.upper) > 2
            assert (np.diff(trace.seconds) >= 0).all()
        assert "of 3 points no lower bound ever fell" in bench_anytime.checked(traces)
        bench_anytime.save_anytime(traces, tmp_path / "anytime.png")
        assert (tmp_path / "anytime.png").read_bytes().startswith(b"\x89PNG")

    def test_a_bound_that_falls_is_an_error(self):
        up, down = np.array([1.0, 1.5]), np.array([1.5, 1.0])
        arrays = {"nodes": np.array([1, 2]), "seconds": up}
        bench_anytime.Trace("", 3, 0, lower=up, upper=down + 1, closed=False, **arrays).require_monotone()
        with pytest.raises(AssertionError, match="point 0"):
            bench_anytime.Trace("", 3, 0, lower=down, upper=down + 1, closed=False, **arrays).require_monotone()

    def test_the_part_of_the_command(self, tmp_path):
        files = {"json": tmp_path / "out.json", "markdown": tmp_path / "out.md", "figure": tmp_path / "out.png"}
        arguments = ["--parts", "k_nearest", "--sets", "digits", "--points", "2", "--k", "3"]
        for kind, file in files.items():
            arguments += [f"--{kind}", str(file)]
        done = CliRunner().invoke(exact_radii.main, arguments)
        assert done.exit_code == 0, done.output
        raw = json.loads(files["json"].read_text())
        assert [(case["k"], len(case["exact_ms"])) for case in raw["k_nearest"]] == [(3, 2)] * 2
        assert len(raw["anytime"]) == 2
        assert "| attack / exact |" in files["markdown"].read_text()
        assert files["figure"].exists()

    @pytest.mark.parametrize("wrong", [["--figure", "out.png", "--parts", "start"], ["--k", "3,x"], ["--k", "4"]])
    def test_wrong_options_are_refused(self, wrong):
        done = CliRunner().invoke(exact_radii.main, wrong)
        assert done.exit_code == 2, done.output


class TestCommand:
    def test_no_path_is_written(self):
        given = ["--quick", "--paper", "/home/me/code", "--json=out.json", "--points", "3"]
        assert exact_radii.command_line(given) == (
            "python benchmarks/exact_radii.py --quick --paper PAPER --json=JSON --points 3"
        )

    def test_report_in_all_forms(self, tmp_path, monkeypatch, sample):
        monkeypatch.setattr(exact_radii, "choose_samples", lambda names, folder: ([sample], ["lost"]))
        files = {kind: tmp_path / f"out.{kind}" for kind in ("json", "markdown")}
        arguments = ["--quick", "--parts", "sets,workers", "--points", "5", "--program-points", "1", "--lp-points", "1"]
        for kind, file in files.items():
            arguments += [f"--{kind}", str(file)]
        done = CliRunner().invoke(exact_radii.main, arguments)
        assert done.exit_code == 0, done.output
        assert "No files for lost" in done.output
        raw = json.loads(files["json"].read_text())
        assert len(raw["sets"][0]["timings"][bench_roads.SEARCH]["ms_per_point"]) == 2
        text = files["markdown"].read_text()
        assert "Machine: " in text
        assert f"| {bench_roads.BRUTE} |" in text

    def test_growth_table(self):
        timing = bench_timing.Timing("", 1, (1.0, 2.0))
        both = {bench_roads.BRUTE: timing, bench_roads.SEARCH: timing}
        growth = [bench_growth.Growth(n, 2, both, dict.fromkeys(bench_growth.MEASURED, n)) for n in (100, 200)]
        report = bench_report.Report("", bench_timing.machine(), 1, [None], growth=growth, start={"import": [0.1]})
        text = bench_report.markdown(report)
        assert "| 2 | 100 | 1.5 ms (1–2) | 1.5 ms (1–2), 1× |" in text

    def test_unknown_parts_are_refused(self):
        done = CliRunner().invoke(exact_radii.main, ["--parts", "sets,speed"])
        assert done.exit_code == 2
        assert "speed" in done.output

    def test_the_script_starts(self):
        done = subprocess.run(
            [sys.executable, str(BENCHMARKS / "exact_radii.py"), "--help"], capture_output=True, text=True, check=True
        )
        assert "--paper" in done.stdout


def test_a_sample_is_cut_short(sample):
    assert isinstance(sample.head(2), Sample)
    assert len(sample.head(2).t) == 2
    assert sample.head(None) is sample


def test_costs_of_certificates():
    done = CliRunner().invoke(
        certificates.main, ["--sets", "digits", "--points", "3", "--exact-points", "1", "--repeats", "1"]
    )
    assert done.exit_code == 0, done.output
    assert "| digits | 1257 × 64 |" in done.output
    assert "check / find" in done.output
