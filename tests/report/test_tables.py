import math
from dataclasses import replace

import pytest

from codesign.config.units import parse_quantity
from codesign.core.quantities import Unit
from codesign.optimize.result import Result
from codesign.report.sources import (
    assumptions,
    constants,
    objective_spread,
    provenance_table,
    spread_table,
    study_chip,
    unsure_table,
)
from codesign.report.tables import (
    METRICS,
    change,
    comparison_table,
    metric_title,
    metric_unit,
    metric_value,
    variables_table,
)
from codesign.report.texts import common_unit, number, quantity


def _back(text: str, name: str, *, unit: Unit) -> float:
    plain = text.replace("−", "-")
    spelled = name.replace("²", "^2").replace("µ", "u")
    return parse_quantity(f"{plain} {spelled}".strip(), unit, allow_bare=True)


def test_comparison_holds_the_metrics(result: Result):
    rows = {row[0].removesuffix(" ★"): row for row in comparison_table(result).rows}
    for path, title, _ in METRICS:
        _, name, *cells, _ = rows[title]
        for cell, rung in zip(cells, result.rungs, strict=True):
            value = metric_value(rung, path)
            read = _back(cell, name, unit=metric_unit(path))
            assert read == pytest.approx(value, rel=6e-3, abs=1e-12), path


def test_percentages_refer_to_tuned(result: Result):
    table = comparison_table(result)
    assert table.columns[-1] == "vs tuned"
    title = f"{metric_title(result.study.minimize)} ★"
    row = next(row for row in table.rows if row[0] == title)
    share = result.best.objective / result.baseline.objective - 1
    read = float(row[-1].removesuffix(" %").replace("−", "-"))
    assert read == pytest.approx(100 * share, abs=0.6)


def test_tone_follows_the_better_direction(result: Result):
    table = comparison_table(result)
    tones = {table.rows[i][0]: tone for (i, _), tone in table.tones.items()}
    faster = result.best.cost.throughput > result.baseline.cost.throughput
    assert tones["throughput of the system"] == ("good" if faster else "bad")
    assert tones["running sequences"] == ""


def test_variables_show_bounds_and_who_reached_them(result: Result):
    rows = {row[0]: row for row in variables_table(result).rows}
    assert rows["model.weight_bits"][-1] == "lower"
    assert rows["chip.dram.bandwidth"][-1] == ""
    assert rows["chip.dram.bandwidth"][1:6] == ("TB/s", "3.35", "3.35", "6", "1 to 12")
    assert "at most chip.tdp" in rows["deployment.power_limit"][-2]


def test_provenance_names_seed_sources_and_versions(result: Result):
    known = constants(result.study)
    rows = dict(provenance_table(result, known, timings={"plots": 1.5}).rows)
    assert rows["seed"] == "7"
    assert rows["time, plots"] == "1.5 s"
    assert rows["constants"].startswith(f"{len(known)} from ")
    assert rows["jax"][0].isdigit()
    assert len(known) > 100


def test_doubtful_values_of_the_chip_are_named(result: Result):
    chip = study_chip(result.study)
    assert chip is not None
    table = unsure_table(chip)
    rows = {row[0]: row for row in table.rows}
    assert rows["system.outer_latency"][3] == "assumed"
    assert rows["system.outer_bandwidth"][3] == "recalled"
    assert "dram_bandwidth" not in rows
    assert f"{len(rows)} of {len(chip.values)} values" in table.note


def test_the_least_voltage_is_always_shown(result: Result):
    """However little it moves, beside the ten constants that move most."""
    known = constants(result.study)
    ranged = [p for p, v in known.items() if isinstance(v.low, float) and v.low > 0]
    assert result.evidence is not None
    least = "chip.style.min_voltage"
    strong = {path: 1.0 for path in ranged if path != least}
    evidence = replace(result.evidence, elasticities={**strong, least: 1e-6})
    shown = [r[0] for r in spread_table(replace(result, evidence=evidence), known).rows]
    assert len(shown) == 11
    assert shown[-1] == least


def test_spread_is_the_root_of_summed_squares(result: Result):
    known = constants(result.study)
    assert result.evidence is not None
    halves = [
        e * math.log(known[path].high / known[path].low) / 2
        for path, e in result.evidence.elasticities.items()
        if path in known and known[path].low
    ]
    expected = math.sqrt(sum(half**2 for half in halves))
    assert objective_spread(result, known) == pytest.approx(expected)
    assert len(spread_table(result, known).rows) == min(len(halves), 10)


def test_assumptions_name_the_stack_and_what_is_not_measured(result: Result):
    text = " ".join(assumptions(result, constants(result.study)))
    assert "vllm-0.11-h100" in text
    assert "not measured" in text
    assert "closed loop" in text


@pytest.mark.parametrize(
    ("value", "text"), [(0.0, "0"), (-0.5, "−0.5"), (math.inf, "∞"), (1.5e-7, "1.5e−7")]
)
def test_numbers_read_well(value: float, text: str):
    assert number(value) == text


def test_changes_of_nothing_are_blank():
    assert change(1.0, 0.0) == change(math.nan, 1.0) == "–"
    assert quantity(math.nan, Unit("J")) == "–"
    assert common_unit([math.nan, 0.0], Unit("J")) == ("J", 1.0)
