"""The page of a sweep: what it counts, which points it calls best, its front."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from codesign.config.limits import Limit
from codesign.config.sweep import build_plan
from codesign.report.sweep import (
    _groups,
    best_table,
    points_table,
    sweep_charts,
    write_sweep,
)
from codesign.study.drive import complete
from codesign.study.executors import InProcess
from codesign.study.folder import Run, create_run
from codesign.study.job import build_job
from codesign.study.table import folder_table
from tests.report.pages import read_page
from tests.study.jobs import design

OVER = {
    "chip.dram.bandwidth": {"min": "1 TB/s", "max": "3 TB/s", "points": 30},
    "deployment.tensor_parallel": [3, 8],
    "deployment.batch": [16, 64, 4096],
}
JOULES, SECONDS = "energy_per_token_server", "time_per_output_token"


def swept(folder: Path, over: Mapping[str, Any] = OVER) -> Run:
    run = create_run(build_job(design(), build_plan(over)), folder)
    complete(run, InProcess())
    return run


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return swept(tmp_path_factory.mktemp("swept") / "run")


def test_points_are_counted_by_what_became_of_them(run: Run):
    table = folder_table(run)
    counts = {name: number for name, number, _ in points_table(run).rows}
    assert counts["points"] == "180"
    assert counts["no design can be built"] == str(int(np.sum(table["legal"] == 0)))
    assert counts["no design can be built"] == "90"
    assert counts["feasible"] == str(int(np.sum(table["feasible"])))
    assert 0 < int(counts["feasible"]) < 90


def test_best_points_are_feasible_and_in_order(run: Run):
    table = folder_table(run)
    places = [int(row[0]) for row in best_table(run).rows]
    kept = np.flatnonzero(table["feasible"].astype(bool))
    joules = table[JOULES]
    assert places == list(kept[np.argsort(joules[kept], kind="stable")][:10])


def test_every_parameter_has_its_least_objective(run: Run):
    table = folder_table(run)
    charts = {chart.name: chart for chart in sweep_charts(run)}
    batches = charts["along-deployment-batch"]
    least = np.where(table["feasible"].astype(bool), table[JOULES], np.nan)
    column = table["deployment.batch"]
    expected = [np.nanmin(least[column == batch]) for batch in (16.0, 64.0)]
    figure: Any = batches.figure
    drawn = np.array(figure.data[0].y, float)
    assert drawn[:2] == pytest.approx(expected, rel=1e-9)
    assert np.isnan(drawn[2])
    groups = charts["along-chip-dram-bandwidth"].table.rows
    assert len(groups) == 24
    assert sum(int(row[1]) for row in groups) == 180


def test_front_has_the_points_that_no_other_one_beats(run: Run):
    table = folder_table(run)
    chart = next(chart for chart in sweep_charts(run) if chart.name == "against")
    kept = table["feasible"].astype(bool)
    points = np.stack([table[SECONDS], table[JOULES]], axis=1)[kept]
    beaten = [np.any(np.all(points < point, axis=1)) for point in points]
    assert len(chart.table.rows) == len(points) - sum(beaten)


def test_page_is_whole(run: Run, tmp_path: Path):
    write_sweep(run, tmp_path / "page.html", command="codesign sweep x.yaml")
    page = read_page((tmp_path / "page.html").read_text(encoding="utf-8"))
    assert "codesign sweep x.yaml" in page.text
    first = best_table(run).rows[0]
    assert f"Point {first[0]} is the best feasible one, at {first[1]}." in page.text


def test_page_without_a_feasible_point_says_so(tmp_path: Path):
    none = swept(tmp_path / "none", {"deployment.batch": [100_000, 200_000]})
    write_sweep(none, tmp_path / "page.html", command="codesign sweep x.yaml")
    page = read_page((tmp_path / "page.html").read_text(encoding="utf-8"))
    assert "No point of the sweep is feasible." in page.text
    assert sweep_charts(none) == []


def test_groups_of_a_column_that_repeats_itself_are_none_of_them_empty():
    """Most rows at one value: several quantiles are the same."""
    values = np.concatenate([np.full(900, 5.0), np.arange(100.0)])
    middles, groups = _groups(values)
    assert np.isfinite(middles).all()
    assert np.unique(groups).tolist() == list(range(len(middles)))
    assert (np.diff(middles) > 0).all()


def test_page_says_which_limits_a_feasible_point_keeps(run: Run):
    """A search knows the baseline that it has tuned; a plain sweep has none."""
    limit = Limit("chip.area", "<=", "chip.area <= baseline", baseline=True)

    def note(**changes: Any) -> str:
        plan = replace(run.job.plan, **changes)
        study = replace(run.job.study, limits=(limit,), sweep=plan)
        job = replace(run.job, study=study)
        return points_table(replace(run, job=job)).note

    assert points_table(run).note == (
        "Feasible points keep the limits that are always on."
    )
    assert "(chip.area <= baseline) that refer to no tuned baseline" in note()
    assert "a baseline tuned at that point" in note(search=True)
    assert "refer to no tuned baseline" not in note(search=True)
