"""Drawings that need no script, intervals, and a front beside a result."""

import json
import re
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import jax.numpy as jnp
import pytest

from codesign.core.errors import InputError
from codesign.core.paths import set_path
from codesign.optimize.result import Result
from codesign.report.breakdown import area_parts
from codesign.report.die import die_layout, die_svg
from codesign.report.front import front_chart
from codesign.report.html import chart_html
from codesign.report.intervals import beyond_table, intervals_table
from codesign.report.page import build_charts, render_report
from codesign.report.plots import plot_energy
from codesign.report.static import static_svg
from tests.report.pages import read_page

METRICS = ("energy_per_token_server", "time_per_output_token")


def rectangles(svg: str) -> list[tuple[float, float, str]]:
    """Width, height and title of each part in a drawing of dies."""
    found: list[tuple[float, float, str]] = []
    for node in ElementTree.fromstring(svg).iter("rect"):  # noqa: S314  our own
        title = node.find("title")
        if title is not None:
            size = float(node.attrib["width"]), float(node.attrib["height"])
            found.append((*size, title.text or ""))
    return found


def test_parts_of_a_die_fill_it_in_proportion(result: Result):
    for rung in result.rungs:
        parts = area_parts(rung)
        layout = die_layout(parts)
        total = sum(parts.values())
        for part in layout:
            assert part.width * part.height == pytest.approx(parts[part.name] / total)
            assert part.left + part.width <= 1 + 1e-9
            assert part.top + part.height <= 1 + 1e-9
        assert sum(part.share for part in layout) == pytest.approx(1.0)


def test_dies_are_drawn_to_one_scale(result: Result):
    drawn = rectangles(die_svg(result))
    parts = [area_parts(rung) for rung in result.rungs]
    shown = [value for each in parts for value in each.values() if value > 0]
    assert len(drawn) == len(shown)
    scale = drawn[0][0] * drawn[0][1] / shown[0]
    for (width, height, _), area in zip(drawn, shown, strict=True):
        assert width * height == pytest.approx(scale * area, rel=0.03)
    assert all("%" in title for _, _, title in drawn)


def test_roofline_stands_without_a_script(result: Result):
    charts = {chart.name: chart for chart in build_charts(result)}
    svg = static_svg(charts["roofline"].figure)
    ElementTree.fromstring(svg)  # noqa: S314  our own
    assert svg.count("<polyline") >= 2
    assert svg.count("<circle") >= 10
    assert "arithmetic intensity [FLOP/B]" in svg
    places = re.findall(r'c[xy]="([\d.]+)"', svg)
    assert all(0 <= float(place) <= 640 for place in places)
    assert f"<noscript>{svg}</noscript>" in chart_html(charts["roofline"])
    assert static_svg(plot_energy(result)) == "", "bars stand in their table"


def test_intervals_hold_the_prediction(result: Result):
    table = intervals_table(result)
    assert len(table.rows) == 4
    for _, predicted, interval, _ in table.rows:
        value = float(predicted.split()[0])
        low, high = (float(word) for word in interval.split()[:3:2])
        assert low < value < high
    assert "80 %" in table.note


def test_intervals_of_a_stack_that_is_gone(result: Result):
    study = replace(result.study, baseline_text={"chip": "none", "model": "x"})
    assert not intervals_table(replace(result, study=study)).rows


def test_what_lies_beyond_the_compared_chips_is_listed(result: Result):
    assert not beyond_table(result).rows
    wide = set_path(result.design, "chip.dram.bandwidth", value=jnp.asarray(32e12))
    best = replace(result.best, design=wide)
    (row,) = beyond_table(replace(result, rungs=(*result.rungs[:-1], best))).rows
    assert row[0] == "chip.dram.bandwidth"
    assert row[3] == "×4"


def front_data(result: Result) -> dict[str, object]:
    def values(cost: object, factor: float) -> dict[str, float]:
        return {name: factor * float(getattr(cost, name)) for name in METRICS}

    return {
        "tuned": values(result.baseline.cost, 1.0),
        "designs": [values(result.best.cost, f) for f in (0.9, 1.0, 1.1)],
    }


def test_front_stands_beside_the_result(result: Result, tmp_path: Path):
    file = tmp_path / "front.json"
    file.write_text(json.dumps(front_data(result)), encoding="utf-8")
    data = json.loads(file.read_text(encoding="utf-8"))
    text = render_report(result, command="codesign optimize x.yaml", front=data)
    page = read_page(text)
    table = front_chart(data, result).table
    assert [table.columns, *table.rows] in page.tables
    assert len(table.rows) == 3 + len(result.rungs)
    assert "data-figure" in str(page.tags)
    assert "figure-front" in text
    assert "figure-front" not in render_report(result, command="x")


@pytest.mark.parametrize("data", [{"x": 1}, {"tuned": 3, "designs": []}])
def test_what_is_no_front_is_refused(result: Result, data: dict[str, object]):
    with pytest.raises(InputError, match=r"front\.json"):
        front_chart(data, result)
