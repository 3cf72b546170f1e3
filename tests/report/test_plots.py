import re

import numpy as np
import plotly.graph_objects as go
import pytest

from codesign.optimize.result import Result
from codesign.report.breakdown import (
    area_parts,
    capacity_parts,
    energy_parts,
    operators,
    quality_parts,
    time_parts,
)
from codesign.report.page import FIGURES

WITH_UNIT = re.compile(r".+ \[.+\]$")
NAMED = {"energy": "y", "time": "y", "area": "y", "quality": "y", "levers": "y"}
NAMED |= {"ladder": "y", "waterfall": "y", "rounding": "y"}


@pytest.mark.parametrize("name", FIGURES)
def test_axes_of_numbers_have_a_title_with_unit(name: str, long_ladder: Result):
    figure = FIGURES[name](long_ladder)
    assert isinstance(figure, go.Figure)
    axes = [a for a in figure.layout if re.fullmatch(r"[xy]axis\d*", a)]
    assert len(axes) >= 2
    for axis in axes:
        if not axis.startswith(NAMED.get(name, "none")):
            assert WITH_UNIT.fullmatch(figure.layout[axis].title.text or ""), axis


@pytest.mark.parametrize("name", FIGURES)
def test_figures_show_finite_numbers(name: str, long_ladder: Result):
    shown = [trace for trace in FIGURES[name](long_ladder).data if trace.x is not None]
    values = [v for t in shown for v in t.x if isinstance(v, float)]
    assert values
    assert np.all(np.isfinite(values))


def test_energy_adds_up_to_the_server(result: Result):
    for rung in result.rungs:
        phases = energy_parts(rung)
        chip = sum(sum(phases[name].values()) for name in ("decode", "prefill"))
        assert chip == pytest.approx(float(rung.cost.energy_per_token))
        total = chip + sum(phases["server"].values())
        assert total == pytest.approx(float(rung.cost.energy_per_token_server))


def test_area_adds_up_to_the_chip(result: Result):
    for rung in result.rungs:
        assert sum(area_parts(rung).values()) == pytest.approx(
            float(rung.cost.chip.area)
        )


def test_steps_last_as_long_as_their_parts(result: Result):
    for rung in result.rungs:
        steps = time_parts(rung)
        shortest = sum(steps["decode step"].values())
        assert 0 < shortest <= float(rung.cost.time_per_output_token)
        assert sum(steps["prompt step"].values()) > shortest


def test_contributions_add_up_to_the_gap(result: Result):
    for rung in result.rungs:
        parts = quality_parts(result, rung)
        assert sum(parts.values()) == pytest.approx(float(rung.quality.gap_nats))
    baseline = quality_parts(result, result.as_given)
    assert not any(baseline.values())
    assert not any(capacity_parts(result, result.as_given).values())


def test_operators_stay_under_their_roofs(result: Result):
    chips = {rung.name: rung for rung in result.rungs}
    found = operators(result)
    assert {o.rung for o in found} == {"tuned", "co-designed"}
    assert {o.step for o in found} == {"decode", "prompt"}
    for o in [o for o in found if o.flops]:
        rung = chips[o.rung]
        peak = float(rung.cost.chip.peak_compute * rung.design.chip.compute.rate_4bit)
        roof = min(peak, o.intensity * float(rung.cost.chip.dram_bandwidth))
        assert o.rate <= roof * (1 + 1e-9), o.name


def test_a_line_of_the_search_joins_legal_designs_only(long_ladder: Result):
    """A relaxed objective is no design: it stands apart, with an open symbol."""
    traces = [t for t in FIGURES["convergence"](long_ladder).data if t.x[0] is not None]
    joined = [s for t in traces if "lines" in t.mode for s in t.marker.symbol]
    apart = [s for t in traces if t.mode == "markers" for s in t.marker.symbol]
    entries = [e for rung in long_ladder.rungs for e in rung.trace]
    relaxed = [e for e in entries if e["stage"] == "relaxed"]
    assert len(apart) == len(relaxed) > 0
    assert len(joined) == len(entries) - len(relaxed) > 0
    assert all(symbol.endswith("-open") for symbol in apart)
    assert not any(symbol.endswith("-open") for symbol in joined)
