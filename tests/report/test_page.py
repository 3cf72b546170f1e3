import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from codesign.optimize.result import Result
from codesign.report import write_report
from codesign.report.guards import guards_table
from codesign.report.html import figure_json
from codesign.report.limits import binding_table, limits_table
from codesign.report.page import build_charts, render_report
from codesign.report.tables import (
    Table,
    boundary_table,
    comparison_table,
    headline,
    ladder_table,
    variables_table,
)
from tests.report.pages import Page, read_page

COMMAND = "codesign optimize study.yaml --set 'chip.tdp=<500 W>' && true"
TABLES = (
    boundary_table,
    comparison_table,
    variables_table,
    binding_table,
    limits_table,
    guards_table,
)
EXTERNAL = ("http:", "https:", "//", "ftp:")


@pytest.fixture(scope="module")
def page(result: Result) -> Page:
    return read_page(render_report(result, command=COMMAND, timings={"compile": 3.0}))


@pytest.fixture(scope="module")
def ladder_page(long_ladder: Result) -> Page:
    return read_page(render_report(long_ladder, command=COMMAND))


def _holds(page: Page, table: Table) -> bool:
    wanted = [table.columns, *table.rows]
    return any(found == wanted for found in page.tables)


@pytest.mark.parametrize("build", TABLES)
def test_tables_stand_in_the_page(
    page: Page, result: Result, *, build: Callable[[Result], Table]
):
    assert _holds(page, build(result))


def test_every_figure_has_its_numbers_and_its_data(page: Page, result: Result):
    scripts = {a.get("id"): text for a, text in page.scripts}
    places = [a["data-figure"] for _, a in page.tags if "data-figure" in a]
    charts = build_charts(result)
    assert places
    assert sorted(places) == sorted(f"figure-{chart.name}" for chart in charts)
    for chart in charts:
        assert _holds(page, chart.table)
        assert chart.caption in page.text
        assert json.loads(scripts[f"figure-{chart.name}"])["data"]


def test_headline_stands_first(page: Page, result: Result):
    top = headline(result)
    assert len(top.numbers) == 3
    for number in top.numbers:
        assert number.value in page.text
        assert number.change in page.text
    assert page.text.index(top.sentence) < page.text.index("What the joules include")


def test_page_makes_no_request(page: Page):
    for tag, attributes in page.tags:
        assert tag not in {"link", "iframe", "img", "base"}, tag
        for name in ("src", "href", "action", "data", "srcset", "poster"):
            assert not attributes.get(name, "").startswith(EXTERNAL), (tag, attributes)
            assert tag != "script" or "src" not in attributes
    assert "@import" not in page.styles
    assert "url(" not in page.styles


def test_plotly_is_inlined_once(page: Page):
    assert [a for a, _ in page.scripts if a.get("id") == "plotly-library"]
    banner = "* plotly.js v"
    assert sum(text.count(banner) for _, text in page.scripts) == 1


def test_markup_in_names_is_text(ladder_page: Page, long_ladder: Result):
    name = long_ladder.study.name
    assert "<script>" in name
    assert name in ladder_page.text
    assert COMMAND in ladder_page.text
    assert not any(text.startswith("alert") for _, text in ladder_page.scripts)


def test_figure_json_cannot_close_its_script(result: Result):
    rungs = tuple(replace(r, name=f"</script>{r.name}") for r in result.rungs)
    for chart in build_charts(replace(result, rungs=rungs)):
        text = figure_json(chart.figure)
        assert "<" not in text
        assert json.loads(text)["layout"]


def test_long_ladder_has_its_section(ladder_page: Page, long_ladder: Result):
    assert _holds(ladder_page, ladder_table(long_ladder))


def test_three_rungs_need_no_ladder(page: Page, result: Result):
    assert not _holds(page, ladder_table(result))


def test_scripts_do_not_carry_the_essentials(page: Page):
    """Tables of figures are open until a script has drawn the figure."""
    folded = [attributes for tag, attributes in page.tags if tag == "details"]
    assert sum("open" in attributes for attributes in folded) >= 8


def test_infeasible_result_leads_with_the_broken_limit(result: Result):
    best = replace(result.best, violation=0.3, worst="limits.memory")
    broken = replace(
        result,
        rungs=(*result.rungs[:-1], best),
        status="Infeasible (co-designed): memory cannot be kept.",
    )
    page = read_page(render_report(broken, command=COMMAND))
    assert any(a.get("class") == "status broken" for _, a in page.tags)
    assert "breaks a limit (limits.memory)" in page.text


def test_result_without_search_has_a_page(result: Result):
    rungs = tuple(replace(r, relaxed=math.nan, trace=()) for r in result.rungs[:2])
    bare = replace(result, rungs=rungs, evidence=None, timings={})
    page = read_page(render_report(bare, command=COMMAND))
    assert "Nothing was searched" in page.text
    assert "nan" not in page.text.lower().split()


def test_report_is_one_file(result: Result, tmp_path: Path):
    path = tmp_path / "new" / "report.html"
    write_report(result, path, command=COMMAND)
    assert [p.name for p in path.parent.iterdir()] == ["report.html"]
    assert path.read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
