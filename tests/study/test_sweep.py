"""A sweep visits the points of its plan, and gives at each what evaluate gives."""

import json
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import duckdb
import numpy as np
import pytest

from codesign.config.study import load_study
from codesign.config.sweep import build_plan
from codesign.core.errors import BoundsError, InputError, UnknownNameError
from codesign.cost.evaluate import evaluate
from codesign.serving.design import set_parameter
from codesign.study.job import build_job, fingerprint, identity
from codesign.study.points import axis_values, point_values
from codesign.study.sweep import sweep
from codesign.study.table import Table
from tests.study.jobs import OVER, assert_same_columns, design

TWO = {
    "chip.tdp": {"min": "300 W", "max": "900 W", "log": True},
    "request.prompt_length": {"min": 100, "max": 2000},
}
SWEPT = """\
name: swept
baseline: {chip: h100-sxm, model: llama-3-8b, batch: 64}
request: {prompt_length: 1024, output_length: 256}
subject_to: [time_per_output_token <= 5 ms]
sweep:
  over:
    deployment.batch: [16, 64, 256]
    technology.sram.bank_energy: [0.1 pJ/bit, 0.2 pJ/bit]
"""


@pytest.fixture(scope="module")
def table() -> Table:
    return sweep(design(), OVER)


@pytest.mark.parametrize("place", [2, 40, 99])
def test_row_is_evaluate_at_its_values(table: Table, place: int):
    row = table.row(place)
    point = design()
    for path in OVER:
        point = set_parameter(point, path, value=row[path])
    cost = evaluate(point)
    for name in ("energy_per_token", "time_to_first_token", "usd_per_token"):
        assert row[name] == pytest.approx(float(getattr(cost, name)), rel=1e-12)


def test_impossible_designs_keep_their_rows(table: Table):
    bad = table["deployment.tensor_parallel"] == 3.0
    assert bad.sum() == 25
    assert not table["legal"][bad].any()
    assert not table["feasible"][bad].any()
    assert np.isnan(table["power"][bad]).all()
    assert table["legal"][~bad].all()
    assert np.isfinite(table["power"][~bad]).all()


def test_feasible_rows_break_no_limit(table: Table):
    names = [name for name in table.columns if name.startswith("limits.")]
    worst = np.max([table[name] for name in names], axis=0)
    legal = table["legal"].astype(bool)
    np.testing.assert_array_equal(table["violation"][legal], worst[legal])
    np.testing.assert_array_equal(table["feasible"][legal], worst[legal] <= 1e-6)
    best = table.best("energy_per_token")
    assert best is not None
    assert (
        best["energy_per_token"] == table["energy_per_token"][table["feasible"]].min()
    )


@pytest.mark.parametrize("method", ["sobol", "latin-hypercube"])
def test_drawn_points_do_not_depend_on_who_asks(method: str):
    plan = build_plan(TWO, method=method, points=100, seed=3)
    whole = point_values(plan, start=0, stop=100)
    cut = [
        point_values(plan, start=i, stop=min(i + 33, 100)) for i in range(0, 100, 33)
    ]
    np.testing.assert_array_equal(np.concatenate(cut), whole)
    assert whole.min(axis=0) == pytest.approx([300, 100], rel=0.15)
    assert whole.max(axis=0) == pytest.approx([900, 2000], rel=0.15)
    other = point_values(replace(plan, seed=4), start=0, stop=100)
    assert not np.array_equal(other, whole)


def test_hypercube_has_one_point_in_each_stratum():
    plan = build_plan(TWO, method="latin-hypercube", points=50)
    values = point_values(plan, start=0, stop=50)[:, 1]
    strata = np.floor((values - 100) / (1900 / 50))
    assert sorted(strata) == list(range(50))


def test_list_takes_values_side_by_side():
    plan = build_plan({"chip.tdp": [1.0, 2.0], "chip.dies": [3.0, 4.0]}, method="list")
    assert point_values(plan, start=0, stop=2).tolist() == [[1, 3], [2, 4]]


@pytest.mark.parametrize("scale", ["normal", "lognormal"])
def test_spread_puts_a_standard_deviation_on_either_side(scale: str):
    axis = build_plan({"chip.tdp": [1.0]}).axes[0]
    axis = replace(axis, low=1.0, middle=2.0, high=5.0, scale=scale)
    unit = np.array([0.158655253931457, 0.5, 0.841344746068543])
    np.testing.assert_allclose(axis_values(axis, unit), [1.0, 2.0, 5.0], rtol=1e-9)


def test_study_with_a_sweep_section(tmp_path: Path):
    file = tmp_path / "swept.yaml"
    file.write_text(SWEPT, encoding="utf-8")
    study = load_study(file)
    table = sweep(study, metrics=["power", "time_per_output_token"])
    assert len(table) == 6
    assert table.columns[:3] == ("point", *study.resolved["sweep"]["over"])
    late = table["time_per_output_token"] > 5e-3
    assert late.any()
    np.testing.assert_array_equal(late, table["violation"] > 1e-6)


def test_executor_of_a_study_changes_no_number(tmp_path: Path):
    file, prints = tmp_path / "swept.yaml", []
    for line in ("", "  executor: processes\n"):
        file.write_text(SWEPT + line, encoding="utf-8")
        study = load_study(file)
        prints.append(fingerprint(identity(build_job(study, None))))
    assert prints[0] == prints[1]
    assert study.sweep is not None
    assert study.sweep.executor == "processes"
    file.write_text(SWEPT + "  executor: dask\n", encoding="utf-8")
    with pytest.raises(InputError, match="inprocess, processes, ray"):
        load_study(file)


def test_front_is_feasible_and_beaten_by_no_row(table: Table):
    names = ["energy_per_token", "time_per_output_token"]
    front = table.front(names)
    assert len(front) > 1
    assert front["feasible"].all()
    assert front.inputs == table.inputs
    assert (np.diff(front[names[0]]) > 0).all()
    assert (np.diff(front[names[1]]) < 0).all()
    ours = np.stack([table[name] for name in names], axis=1)[table["feasible"]]
    ends = np.stack([front[name] for name in names], axis=1)
    beaten = np.all(ours[:, None] <= ends, axis=2) & np.any(ours[:, None] < ends, 2)
    assert not beaten.any()
    assert set(map(tuple, ends)) <= set(map(tuple, ours))


@pytest.mark.parametrize(
    ("over", "more", "text"),
    [
        ({"chip.tpd": [1.0]}, {}, r"chip\.tdp"),
        ({"technology.nodes.node": [1.0]}, {}, "table"),
        ({"chip.tdp": ["500"]}, {}, "needs a unit"),
        ({"chip.tdp": {"min": "9 W", "max": "5 W", "points": 3}}, {}, "Swapped"),
        ({"chip.tdp": {"min": "1 W", "max": "5 W"}}, {}, "missing key: points"),
        ({"chip.tdp": {"min": "1 W", "max": "5 W", "points": 1}}, {}, "from 2"),
        (
            {"chip.tdp": {"min": "0 W", "max": "5 W", "points": 3, "log": True}},
            {},
            "log",
        ),
        ({"chip.tdp": [1.0], "chip.dies": [1.0, 2.0]}, {"method": "list"}, "equal"),
        ({"chip.tdp": [1.0]}, {"method": "sobol", "points": 4}, "needs a range"),
        ({"chip.tdp": [1.0]}, {"method": "cube"}, "no method"),
        ({"chip.tdp": [1.0]}, {"points": 4}, "leave it out"),
        (TWO, {"method": "sobol"}, "missing key: points"),
        (TWO, {"method": "sobol", "points": 10**9}, "at most"),
        ({}, {}, "expected parameters"),
        ({"subject_to.power": ["1 W"]}, {}, "search: true"),
        ({"subject_to.powr": ["1 W"]}, {}, "no metric"),
        ({"quality.precision.kv": [1.0]}, {}, "no constant"),
    ],
)
def test_bad_plans_are_explained(*, over: dict, more: dict, text: str):
    with pytest.raises(InputError, match=text):
        build_plan(over, **more)


def test_bad_jobs_are_explained():
    with pytest.raises(UnknownNameError, match="power_server"):
        build_job(design(), build_plan({"chip.tdp": [1.0]}), metrics=["power_servr"])
    with pytest.raises(BoundsError, match="shard_size"):
        build_job(design(), build_plan({"chip.tdp": [1.0]}), shard_size=-1)
    plan = build_plan(TWO, method="sobol", points=10**7)
    with pytest.raises(BoundsError, match="larger shard_size"):
        build_job(design(), plan, shard_size=1)
    with pytest.raises(InputError, match="over which parameters"):
        sweep(design())
    with pytest.raises(BoundsError, match="out="):
        sweep(design(), TWO, method="sobol", points=10**6)


def test_exports_carry_inputs_units_and_versions(table: Table, tmp_path: Path):
    for suffix in ("csv", "json", "parquet"):
        table.save(tmp_path / f"t.{suffix}")
    data = json.loads((tmp_path / "t.json").read_text(encoding="utf-8"))
    assert data["units"]["power"] == "W"
    assert data["inputs"]["request"]["prompt_length"] == 1024.0
    assert {"jax", "numpy", "code"} <= data["versions"].keys()
    header, first = (tmp_path / "t.csv").read_text(encoding="utf-8").splitlines()[:2]
    assert "power [W]" in header
    assert "request.prompt_length [token]" in header
    assert "version of jax" in header
    assert len(first) > len("1024")
    with duckdb.connect() as base:
        query = "SELECT * FROM read_parquet(?)"
        found = base.execute(query, [str(tmp_path / "t.parquet")]).fetchnumpy()
        keys = base.execute(
            "SELECT key FROM parquet_kv_metadata(?)", [str(tmp_path / "t.parquet")]
        ).fetchall()
    assert len(found["power"]) == len(table)
    assert {b"units", b"inputs", b"unsure", b"versions"} == {key for (key,) in keys}
    with pytest.raises(InputError, match=r"\.parquet"):
        table.save(tmp_path / "t.xlsx")


def test_pandas_frame_carries_what_the_table_knows(
    table: Table, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(InputError, match="to_numpy"):
        table.to_pandas()
    stand_in = SimpleNamespace(DataFrame=lambda columns: SimpleNamespace(given=columns))
    monkeypatch.setitem(sys.modules, "pandas", stand_in)
    frame = table.to_pandas(["power"])
    assert np.array_equal(frame.given["power"], table["power"], equal_nan=True)
    assert frame.attrs["units"]["power"] == "W"
    assert frame.attrs["inputs"] == table.inputs
    assert frame.attrs["versions"] == table.versions


def test_unknown_column_is_explained(table: Table):
    with pytest.raises(UnknownNameError, match="power_server"):
        table["power_servr"]


def test_two_sweeps_are_the_same_bits(table: Table):
    assert_same_columns(sweep(design(), OVER).to_numpy(), table.to_numpy())


RECIPES = """\
name: swept
baseline: {chip: h100-sxm, model: llama-3-8b, batch: 64}
request: {prompt_length: 1024, output_length: 256}
REFERENCE
subject_to: [quality.gap <= 0]
sweep: {over: {model.weight_bits: [4, 16]}}
"""


def test_reference_of_a_study_is_what_quality_and_fingerprint_follow(tmp_path: Path):
    file, gaps, prints = tmp_path / "swept.yaml", [], []
    for line in ("note: own", "reference: llama-3-70b"):
        file.write_text(RECIPES.replace("REFERENCE", line), encoding="utf-8")
        study = load_study(file)
        table = sweep(study, metrics=["quality.gap"])
        gaps.append(table["quality.gap"])
        assert (table["violation"] >= gaps[-1]).all()
        assert not table["feasible"][gaps[-1] > 1e-3].any()
        prints.append(fingerprint(identity(build_job(study, None))))
    assert gaps[0][1] == pytest.approx(0.0, abs=1e-9)
    assert gaps[0][0] > 0
    assert (gaps[1] > gaps[0] + 1.0).all()
    assert prints[0] != prints[1]
