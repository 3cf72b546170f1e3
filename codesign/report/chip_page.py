"""Which page shows all chips side by side?

Names or files of chips -> three charts with captions and numbers, and one HTML page.
"""

from collections.abc import Sequence
from pathlib import Path

from codesign.report.chip_plots import (
    HOLLOW,
    MM2,
    plot_chip_area,
    plot_chip_map,
    plot_chip_power,
)
from codesign.report.chips import AREA_PARTS, ChipFacts, chip_facts
from codesign.report.html import Chart, chart_html, page_html
from codesign.report.tables import Table
from codesign.report.texts import NONE, change, number

TITLE = "Chips of the library"
DOUBT = " ?"  # behind a value that was announced, recalled or assumed
INTRODUCTION = (
    "What the equations derive from the parameters of a chip, without its residuals, "
    f"beside what is published. Hollow marks and question marks: {HOLLOW}."
)


def write_chip_page(names: Sequence[str | Path], path: Path) -> None:
    """Write area, power and balance of chips as one HTML page that needs no network.

    Example:
        ``write_chip_page(["h100-sxm", "my_chip.yaml"], Path("chips.html"))``
    """
    charts = chip_charts(chip_facts(names))
    sections = [f"<h1>{TITLE}</h1>\n<p>{INTRODUCTION}</p>", *map(chart_html, charts)]
    path.write_text(page_html(TITLE, sections, charts=charts), encoding="utf-8")


def chip_charts(chips: Sequence[ChipFacts]) -> tuple[Chart, ...]:
    """Area, power and map with their captions and numbers."""
    return (
        Chart(
            "chip-area",
            "Area of one die by part as derived; of packages with several dies and of "
            "wafers the mean die. Diamonds: published. TPU dies are known as upper "
            "bounds only.",
            plot_chip_area(chips),
            area_table(chips),
        ),
        Chart(
            "chip-power",
            "Power of a large 16-bit matrix product at full clock over the published "
            "TDP; beyond 1 the governor lowers clock and voltage. Diamonds: derived at "
            "the rate that was measured, where the TDP (1) was the limit. The die has "
            "its published area.",
            plot_chip_power(chips),
            power_table(chips),
        ),
        Chart(
            "chip-map",
            "SRAM per peak 16-bit rate, and peak rate over the bandwidth of the memory "
            "that holds the weights: DRAM, or SRAM and cells of weights where there is "
            "none. GPUs stand top left, chips that keep the model on chip below.",
            plot_chip_map(chips),
            map_table(chips),
        ),
    )


def area_table(chips: Sequence[ChipFacts]) -> Table:
    """Die area by part, derived and published."""
    rows = [
        (
            chip.name,
            *(number(part / MM2) for part in chip.area.values()),
            number(sum(chip.area.values()) / MM2),
            _stated(chip.area_published / MM2, sure=chip.area_sure),
            change(sum(chip.area.values()), chip.area_published),
        )
        for chip in chips
    ]
    return Table(
        title="Area of one die in mm²",
        columns=("chip", *AREA_PARTS.values(), "derived", "published", "error"),
        rows=tuple(rows),
    )


def power_table(chips: Sequence[ChipFacts]) -> Table:
    """Power of a 16-bit product at full clock and at the measured rate."""
    rows = [
        (
            chip.name,
            _stated(chip.tdp, sure=chip.tdp_sure),
            number(sum(chip.power.values())),
            number(chip.power_measured),
            change(chip.power_measured, chip.tdp),
        )
        for chip in chips
    ]
    return Table(
        title="Power of a 16-bit matrix product in W",
        columns=("chip", "TDP", "full clock", "at the measured rate", "over the TDP"),
        rows=tuple(rows),
    )


def map_table(chips: Sequence[ChipFacts]) -> Table:
    """Balance of every chip."""
    rows = [
        (
            chip.name,
            chip.family,
            number(chip.peak_compute / 1e12),
            number(1e9 * chip.sram_per_flop),
            _stated(chip.flop_per_byte, sure=chip.balance_sure),
            "DRAM" if chip.from_dram else "on chip",
        )
        for chip in chips
    ]
    return Table(
        title="Balance",
        columns=(
            "chip",
            "family",
            "TFLOP/s, 16 bit",
            "SRAM, B/(GFLOP/s)",
            "FLOP/B",
            "weights in",
        ),
        rows=tuple(rows),
    )


def _stated(value: float, *, sure: bool) -> str:
    text = number(value)
    return text if sure or text == NONE else f"{text}{DOUBT}"
