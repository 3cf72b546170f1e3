"""Pictures of chips: parts add up, published figures stand beside, names are apart."""

import math
from pathlib import Path

import numpy as np
import plotly.graph_objects as go
import pytest

from codesign.config.catalogue import list_presets
from codesign.config.chips import load_chip, load_published
from codesign.report.chip_page import chip_charts, write_chip_page
from codesign.report.chips import ChipFacts, chip_facts
from codesign.report.html import Chart
from tests.report.pages import read_page

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def chips() -> dict[str, ChipFacts]:
    return {chip.name: chip for chip in chip_facts(list_presets("chips"))}


@pytest.fixture(scope="module")
def charts(chips: dict[str, ChipFacts]) -> dict[str, Chart]:
    return {chart.name: chart for chart in chip_charts(list(chips.values()))}


def test_area_is_that_of_the_derived_die(chips: dict[str, ChipFacts]):
    """Parts times the residual of the anchor are the published area."""
    for name in ("h100-sxm", "mi300x", "wse-3", "groqchip1"):
        chip, published = load_chip(name), load_published(name)
        whole = sum(chips[name].area.values()) * float(chip.dies)
        residual = float(np.exp(chip.anchor.area))
        assert whole * residual == pytest.approx(float(published.area))
        assert all(part >= 0 for part in chips[name].area.values())


def test_power_at_the_measured_rate_is_near_the_tdp(chips: dict[str, ChipFacts]):
    known = [c for c in chips.values() if math.isfinite(c.power_measured)]
    assert len(known) > 8
    off = [abs(c.power_measured / c.tdp - 1) for c in known]
    assert np.mean(off) < 0.20
    for chip in known:
        assert chip.power_measured < sum(chip.power.values())


def test_map_holds_every_chip(chips: dict[str, ChipFacts], charts: dict[str, Chart]):
    assert {c.family for c in chips.values()} >= {"GPU", "systolic", "analog"}
    assert chips["h100-sxm"].flop_per_byte == pytest.approx(295, rel=0.01)
    assert chips["groqchip1"].flop_per_byte == pytest.approx(188 / 80, rel=0.01)
    shown = [t for t in charts["chip-map"].figure.data if t.text is not None]
    assert sum(len(t.x) for t in shown) == len(chips)


def test_doubtful_values_are_hollow(chips: dict[str, ChipFacts]):
    assert chips["h100-sxm"].tdp_sure
    assert chips["h100-sxm"].balance_sure
    assert not chips["groq3"].tdp_sure
    assert not chips["rubin"].balance_sure
    assert not chips["groqchip1"].area_sure


@pytest.mark.parametrize("name", ["chip-area", "chip-power", "chip-map"])
def test_axes_carry_units_and_numbers_are_finite(charts: dict[str, Chart], name: str):
    figure = charts[name].figure
    assert isinstance(figure, go.Figure)
    assert "[" in figure.layout.xaxis.title.text
    if name == "chip-map":
        assert "[" in figure.layout.yaxis.title.text
    for trace in figure.data:
        values = [v for v in trace.x if v is not None]
        assert np.all(np.isfinite(values))


def test_names_on_the_map_do_not_stand_on_each_other(charts: dict[str, Chart]):
    notes = charts["chip-map"].figure.layout.annotations
    assert len(notes) > 20
    places = {(round(n.x, 3), round(n.y, 3), n.ax, n.ay) for n in notes}
    assert len(places) == len(notes)


def test_page_of_the_documents_is_what_the_code_gives(charts: dict[str, Chart]):
    """Rows of docs/chips.md; python docs/chips.py writes them again."""
    text = (ROOT / "docs" / "chips.md").read_text(encoding="utf-8")
    for chart in charts.values():
        assert f"({chart.name}.svg)" in text
        for row in chart.table.rows:
            assert "| " + " | ".join(row) + " |" in text


def test_one_file_needs_no_network(tmp_path: Path):
    path = tmp_path / "chips.html"
    write_chip_page(["h100-sxm", "weights-in-rom"], path)
    page = read_page(path.read_text(encoding="utf-8"))
    places = [a["data-figure"] for _, a in page.tags if "data-figure" in a]
    assert places == ["figure-chip-area", "figure-chip-power", "figure-chip-map"]
    assert any("weights-in-rom" in row for table in page.tables for row in table)
