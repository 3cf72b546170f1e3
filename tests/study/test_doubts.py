"""Announced, recalled and assumed values go with every export and comparison."""

import csv
import json
from dataclasses import replace
from pathlib import Path

import pytest

from codesign.config.chips import chip_info
from codesign.config.design import save_design
from codesign.config.doubts import PLACES, doubtful_paths, study_doubts
from codesign.config.study import Study
from codesign.config.sweep import build_plan
from codesign.core.paths import path_units
from codesign.serving.design import Design
from codesign.study.compare import compare, comparison_to_dict
from codesign.study.folder import create_run
from codesign.study.job import build_job, study_of
from codesign.study.shards import read_notes
from codesign.study.sweep import sweep
from codesign.study.table import Table, folder_table
from tests.study.jobs import OVER, design

DOUBTED = "parameters.link_bandwidth"


@pytest.fixture(scope="module")
def study() -> Study:
    """A study that names a chip some of whose values are recalled."""
    named = replace(study_of(design()), baseline_text={"chip": "groqchip1"})
    return replace(named, sweep=build_plan(OVER))


@pytest.fixture(scope="module")
def table(study: Study) -> Table:
    return sweep(study)


def test_places_are_parameters_of_datasheet_and_design():
    assert set(PLACES.values()) <= set(path_units(Design))
    for name in ("h100-sxm", "analog-in-memory", "weights-in-rom", "inhouse-asic"):
        values = chip_info(name).values
        assert {p for p in values if p.startswith("parameters.")} <= set(PLACES)


def test_doubts_of_a_study_are_those_of_its_chip(study: Study):
    found = study_doubts(study)
    assert found is not None
    assert found[DOUBTED]["status"] == "recalled"
    assert "parameters.sram_capacity" not in found
    assert doubtful_paths(found)["chip.link.bandwidth"] == "recalled"
    assert study_doubts(study_of(design())) is None


def test_parquet_json_and_csv_name_the_doubtful_values(table: Table, tmp_path: Path):
    for suffix in ("parquet", "json", "csv"):
        table.save(tmp_path / f"table.{suffix}")
    data = json.loads((tmp_path / "table.json").read_text(encoding="utf-8"))
    assert data["unsure"][DOUBTED]["unit"] == "B/s"
    notes = read_notes(tmp_path / "table.parquet")
    assert json.loads(notes["unsure"]) == data["unsure"]
    with (tmp_path / "table.csv").open(encoding="utf-8") as file:
        row = next(csv.DictReader(file))
    assert f"{DOUBTED} recalled" in row["unsure"]


def test_table_without_a_named_chip_says_that_it_does_not_know(tmp_path: Path):
    table = sweep(design(), {"chip.tdp": ["500 W", "700 W"]}, metrics=["power"])
    table.save(tmp_path / "table.csv")
    assert table.unsure is None
    assert "not known" in (tmp_path / "table.csv").read_text(encoding="utf-8")


def test_runs_and_comparisons_of_runs_name_them(study: Study, tmp_path: Path):
    run = create_run(build_job(study, None, shard_size=10), tmp_path / "run")
    assert folder_table(run).unsure == study_doubts(study)
    found = compare(design(), design())
    assert found.unsure == (None, None)
    save_design(design(), run.folder / "best.yaml")
    kept = comparison_to_dict(compare(design(), run.folder))["unsure"]
    assert kept["before"] is None
    assert kept["after"][DOUBTED]["status"] == "recalled"
