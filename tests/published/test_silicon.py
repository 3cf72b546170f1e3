"""What the equations derive for chips that exist, without their anchors.

Dies, prices and bills of material are estimates of others unless a vendor
publishes them; the mean error is computed here and has to stay in its band.
"""

from typing import NamedTuple

import numpy as np
import pytest

from codesign.config.chips import load_chip, load_published
from codesign.config.technology import load_technology
from codesign.hardware.anchor import zero_anchor
from codesign.hardware.silicon import Silicon, silicon
from codesign.technology.node import at_node

MM2 = 1e-6


class Figure(NamedTuple):
    """A published value, its relative tolerance and who says so."""

    value: float
    tolerance: float
    source: str


ACROSS_STYLES = 0.25  # stated spread of areas across styles of architecture

AREAS = {
    "a100-sxm-80gb": Figure(826 * MM2, ACROSS_STYLES, "NVIDIA A100 white paper"),
    "h100-sxm": Figure(814 * MM2, ACROSS_STYLES, "NVIDIA H100 white paper"),
    "b200-sxm": Figure(1600 * MM2, ACROSS_STYLES, "two reticle-sized dies, press 2024"),
    "mi300x": Figure(2400 * MM2, ACROSS_STYLES, "8 x 115 + 4 x 370, analysts"),
    "tpu-v4": Figure(560 * MM2, ACROSS_STYLES, "< 600 mm^2, arXiv 2304.01433"),
    "groqchip1": Figure(725 * MM2, ACROSS_STYLES, "Hot Chips 2020; semiwiki"),
    "wse-3": Figure(46225 * MM2, ACROSS_STYLES, "Cerebras WSE-3 data sheet"),
}

BILLS = {
    "h100-sxm": Figure(3320.0, 0.25, "Epoch AI bill of material, 2025"),
    "b200-sxm": Figure(6400.0, 0.25, "Epoch AI bill of material, 2025"),
    "mi300x": Figure(5300.0, 0.25, "Epoch AI bill of material, 2025"),
}
"""Dollars of parts of one package, before the vendor's margin."""

MAX_MEAN_AREA_ERROR = 0.13  # leave-one-out error of the fit to 20 dies
MAX_MEAN_BILL_ERROR = 0.20


def derived(name: str) -> Silicon:
    """Silicon of a preset as if nothing were known of it but its parameters."""
    return silicon(load_chip(name).replace(anchor=zero_anchor()), load_technology())


def bill(name: str) -> float:
    return float(derived(name).price) * (1 - float(load_chip(name).style.gross_margin))


def errors(found: dict[str, float], figures: dict[str, Figure]) -> dict[str, float]:
    return {n: found[n] / figure.value - 1 for n, figure in figures.items()}


def mean_error(relative: dict[str, float]) -> float:
    return float(np.mean([abs(error) for error in relative.values()]))


@pytest.mark.parametrize("name", AREAS)
def test_die_area(name: str):
    figure = AREAS[name]
    assert float(derived(name).area) == pytest.approx(
        figure.value, rel=figure.tolerance
    ), figure.source


def test_mean_error_of_die_areas():
    relative = errors({n: float(derived(n).area) for n in AREAS}, AREAS)
    text = ", ".join(f"{n} {error:+.0%}" for n, error in relative.items())
    assert mean_error(relative) < MAX_MEAN_AREA_ERROR, text
    # Blocks alone, without the fill, are half of the die: it is not optional.
    blocks = {
        n: float(
            (derived(n).compute_area + derived(n).sram_area)
            * load_chip(n).style.area_efficiency
            + derived(n).phy_area
        )
        for n in AREAS
    }
    assert mean_error(errors(blocks, AREAS)) > 2 * mean_error(relative)


def test_published_areas_are_those_of_the_presets():
    for name, figure in AREAS.items():
        assert float(load_published(name).area) == pytest.approx(figure.value), name


@pytest.mark.parametrize("name", BILLS)
def test_bill_of_material(name: str):
    figure = BILLS[name]
    assert bill(name) == pytest.approx(figure.value, rel=figure.tolerance), (
        figure.source
    )


def test_mean_error_of_bills():
    relative = errors({n: bill(n) for n in BILLS}, BILLS)
    text = ", ".join(f"{n} {error:+.0%}" for n, error in relative.items())
    assert mean_error(relative) < MAX_MEAN_BILL_ERROR, text


PRICED = (
    "a100-sxm-40gb",
    "a100-sxm-80gb",
    "b200-sxm",
    "gb200-nvl72",
    "h100-pcie",
    "h100-sxm",
    "h200-sxm",
    "l4",
    "l40s",
    "mi250x",
    "mi300x",
    "tpu-v4",
    "v100-sxm2",
)
"""Chips sold as chips at their style's margin: not cards of small volume (Groq,
Tenstorrent), not systems (Cerebras), not consumer parts (RTX 4090), not prices of
a customer's own design (Trainium2) or of a challenger (Gaudi 3)."""


@pytest.mark.parametrize("name", PRICED)
def test_price_of_a_chip(name: str):
    """Prices follow markets: the stated spread of such estimates is 40 %."""
    published = float(load_published(name).price)
    assert float(derived(name).price) == pytest.approx(published, rel=0.40)


@pytest.mark.parametrize(
    ("node", "price", "source"),
    [
        (7e-9, 9346.0, "CSET, AI Chips 2020, table 9"),
        (5e-9, 16988.0, "CSET, AI Chips 2020, table 9"),
        (28e-9, 2891.0, "CSET, AI Chips 2020, table 9"),
    ],
)
def test_wafer_price(*, node: float, price: float, source: str):
    nodes = load_technology().nodes
    found = float(at_node(nodes, nodes.wafer_price, node=node))
    assert found == pytest.approx(price, rel=0.01), source


@pytest.mark.parametrize(
    ("name", "clock"),
    [("h100-sxm", 1.83e9), ("a100-sxm-80gb", 1.41e9), ("tpu-v4", 1.05e9)],
)
def test_peak_rate_needs_a_whole_number_of_units(name: str, clock: float):
    """MAC units of data sheets: H100 132 SM x 2048, A100 108 x 1024, TPU 8 x 128^2."""
    units = {"h100-sxm": 132 * 2048, "a100-sxm-80gb": 108 * 1024, "tpu-v4": 8 * 128**2}
    chip = load_chip(name)
    assert float(chip.compute.macs) == pytest.approx(units[name], rel=0.01)
    assert float(chip.style.reference_clock) == pytest.approx(clock)
