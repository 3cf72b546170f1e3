"""How well do the equations of silicon describe chips that exist?

Chip library and published figures -> benchmarks/results/silicon.md: die area and
GEMM power with each chip left out of its fit, energy per operation of 8 over 16
bit, dollars per GPU-hour, stacks and shoreline, clock by node, speed of one user,
archetypes.

    python benchmarks/silicon.py
"""

import argparse
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
from scipy.optimize import brentq, least_squares, minimize_scalar
from silicon_clock import clock_page
from silicon_users import archetype_page, user_page

import codesign as cd
from codesign.config.catalogue import list_presets
from codesign.config.chips import chip_info, load_chip
from codesign.config.technology import load_technology
from codesign.cost.money import capital_recovery, server_power
from codesign.hardware.anchor import byte_energy, zero_anchor
from codesign.hardware.chip import Chip
from codesign.hardware.silicon import Silicon, silicon
from codesign.hardware.voltage import operating_point
from codesign.technology.constants import Technology
from codesign.technology.node import at_node

RESULTS = Path(__file__).resolve().parent / "results" / "silicon.md"
HOUR = 3600.0
MM2 = 1e-6
GEMM_SIZE = 8192.0
SOLD = ("verified", "announced")  # counts of stacks that somebody published
PRODUCT_SIZES = (8e9, 16e9, 24e9, 36e9)  # bytes of an HBM stack as sold
PIN_SPEED = {  # fastest stacks in products, bytes per second, memory.yaml
    "hbm2": 311e9,
    "hbm2e": 461e9,
    "hbm3": 819e9,
    "hbm3e": 1229e9,
    "hbm4": 2750e9,
}


@dataclass(frozen=True)
class Line:
    """One prediction: what, published, fitted on all, fitted without it."""

    name: str
    published: float
    fitted: float
    left_out: float

    @property
    def error(self) -> float:
        """Relative error of the prediction with the chip left out."""
        return self.left_out / self.published - 1


AREA_CLASSES = {
    "gpu": (
        "v100-sxm2",
        "a100-sxm-80gb",
        "h100-sxm",
        "b200-sxm",
        "mi250x",
        "mi300x",
        "l4",
        "rtx-4090",
    ),
    "systolic": ("tpu-v1", "tpu-v3", "tpu-v4", "tpu-v4i"),
    "static": ("groqchip1", "gc200"),
    "many-core": (
        "wse-2",
        "wse-3",
        "mtia-v1",
        "mtia-v2",
        "wormhole-n300",
        "blackhole-p150a",
    ),
}
"""Dies with a published area, by class of floor plan; TPUs are upper bounds."""

DENSITIES = ((0.45, 0.62, 0.88), (1.34, 2.02, 3.2))  # mm^2/MiB at N7, sram.yaml
SCATTER = 0.13  # of dies around the fit, logarithm


@dataclass(frozen=True)
class Blocks:
    """Parts of a die before the fitted constants: mm^2, MiB at N7, mm^2."""

    name: str
    kind: str
    macs: float
    bulk: float
    fast: float
    phy: float
    published: float


def area_blocks(technology: Technology) -> list[Blocks]:
    """MAC area, bulk and fast SRAM in N7 equivalents, and PHY of every die."""
    found: list[Blocks] = []
    nodes, mac = technology.nodes, technology.arithmetic
    for kind, names in AREA_CLASSES.items():
        for name in names:
            chip = load_chip(name)
            formats = (
                1 + mac.extra_format_area_fraction * chip.compute.num_extra_formats
            )
            logic = at_node(nodes, nodes.logic_area_factor, node=chip.node)
            cells = at_node(nodes, nodes.sram_area_factor, node=chip.node)
            spares = chip.compute.spare_factor
            size = float(spares * chip.sram.capacity * cells) / 2**20
            fast = float(chip.sram.fast_fraction)
            found.append(
                Blocks(
                    name=name,
                    kind=kind,
                    macs=float(spares * chip.compute.macs * formats * logic)
                    * float(mac.area_16bit)
                    / MM2,
                    bulk=size * (1 - fast),
                    fast=size * fast,
                    phy=float(silicon(chip, technology).phy_area) / MM2,
                    published=chip_info(name).values["published.area"].value / MM2,
                )
            )
    return found


def area_of(block: Blocks, constants: np.ndarray) -> float:
    """A = (MAC + a_bulk S_bulk + a_fast S_fast) / eta_class + PHY."""
    bulk, fast, *fill = np.exp(constants)
    eta = fill[list(AREA_CLASSES).index(block.kind)]
    return (block.macs + bulk * block.bulk + fast * block.fast) / eta + block.phy


def fit_area(blocks: Sequence[Blocks]) -> np.ndarray:
    """Logarithms of two SRAM densities and one fill per class.

    The densities are held near their centre by the spread that sram.yaml states,
    weighed against the scatter of the dies.
    """

    def residuals(constants: np.ndarray) -> list[float]:
        dies = [math.log(area_of(b, constants) / b.published) for b in blocks]
        pulls = [
            SCATTER * (found - math.log(centre)) / (math.log(high / low) / 2)
            for found, (low, centre, high) in zip(constants, DENSITIES, strict=False)
        ]
        return dies + pulls

    start = np.log([0.62, 2.0, 0.33, 0.54, 0.82, 0.48])
    return least_squares(residuals, start).x


def area_lines(technology: Technology) -> tuple[list[Line], np.ndarray]:
    """Die areas, each predicted by a fit to the others, and the fit to all."""
    blocks = area_blocks(technology)
    everything = fit_area(blocks)
    lines = [
        Line(
            block.name,
            block.published,
            area_of(block, everything),
            area_of(block, fit_area([b for b in blocks if b is not block])),
        )
        for block in blocks
    ]
    return lines, everything


GEMMS = {
    "a100-sxm-80gb": ("older NVIDIA", 271.2, None),
    "h100-sxm": ("older NVIDIA", 794.5, 1402.6),
    "h200-sxm": ("older NVIDIA", 794.5, 1453.4),
    "b200-sxm": ("Blackwell", 1745.0, 3432.5),
    "gb200-nvl72": ("Blackwell", 1822.0, 3615.6),
    "b300-sxm": ("Blackwell", 1769.0, 3353.3),
    "gb300-nvl72": ("Blackwell", 2174.0, None),
    "mi300x": ("CDNA", 668.4, None),
    "mi325x": ("CDNA", 784.9, None),
    "mi355x": ("CDNA", 1565.0, None),
}
"""Best matrix product in TFLOP/s, 16 and 8 bit (stas00/ml-engineering, MAMF).

Left out: Gaudi 2 (0.97 of peak, its limit does not bind), Gaudi 3 (same rate in both
formats, a class of its own), chips without a measured rate.
"""


@dataclass(frozen=True)
class Gemm:
    """Power of a matrix product at the limit, W: base + delivery k."""

    name: str
    kind: str
    bits: int
    base: float
    per_delivery: float
    limit: float


def unanchored(name: str) -> Chip:
    """A preset as its style derives it, but with the published die area."""
    chip = load_chip(name)
    return chip.replace(anchor=zero_anchor().replace(area=chip.anchor.area))


def gemm_row(name: str, *, bits: int, rate: float, technology: Technology) -> Gemm:
    """Power at the voltage whose clock gives the measured rate.

    eta peak f(V) / f_op = R;  P = P_static + P_memory + P_active + 3 R b e / N
        + R / 2 (e_alu + k b) (V / V_op)^2
    """
    chip = unanchored(name)
    built = silicon(chip, technology)
    faster = {16: 1.0, 8: float(chip.compute.rate_8bit)}[bits]
    peak = float(built.peak_compute) * technology.arithmetic.kernel_efficiency * faster
    share = min(rate / float(peak), 1.0)
    drive = brentq(
        lambda v: float(operating_point(chip, v).clock_factor) - share,
        1e-3,
        float(chip.voltage),
    )
    point = operating_point(chip, jnp.asarray(drive))
    swing = float(point.dynamic_factor)
    alu = {16: built.mac_energy_16bit, 8: built.mac_energy_8bit}[bits]
    clocked = float(built.active_power * point.clock_factor) * swing
    stream = 3 * rate / GEMM_SIZE * bits / 16 * float(byte_energy(built))
    idle = float(built.static_power * point.static_factor + built.memory_power)
    per_bit = float(built.delivery_energy / chip.style.delivery_energy)
    return Gemm(
        name=name,
        kind=GEMMS[name][0],
        bits=bits,
        base=idle + clocked + stream + rate / 2 * float(alu) * swing,
        per_delivery=rate / 2 * bits * per_bit * swing,
        limit=float(chip.tdp),
    )


def gemm_rows(technology: Technology) -> list[Gemm]:
    """Every measured matrix product, 16 bit and 8 bit."""
    return [
        gemm_row(name, bits=bits, rate=rate * 1e12, technology=technology)
        for name, (_, *rates) in GEMMS.items()
        for bits, rate in zip((16, 8), rates, strict=True)
        if rate
    ]


def fit_delivery(rows: Sequence[Gemm]) -> float:
    """Energy per bit of operand that makes the rows draw their limit."""

    def loss(delivery: float) -> float:
        powers = [row.base + delivery * 1e-12 * row.per_delivery for row in rows]
        limits = [row.limit for row in rows]
        return float(np.sum(np.log(np.divide(powers, limits)) ** 2))

    found: Any = minimize_scalar(loss, bounds=(0.0, 0.5), method="bounded")
    return float(found.x) * 1e-12


def gemm_lines(technology: Technology) -> tuple[list[Line], dict[str, float]]:
    """Power at the limit, each chip (both formats) left out of its group's fit."""
    rows = gemm_rows(technology)
    groups = {kind: [r for r in rows if r.kind == kind] for kind, *_ in GEMMS.values()}
    fits = {kind: fit_delivery(members) for kind, members in groups.items()}
    lines = [
        Line(
            f"{row.name}, {row.bits} bit",
            row.limit,
            row.base + fits[row.kind] * row.per_delivery,
            row.base
            + fit_delivery([r for r in groups[row.kind] if r.name != row.name])
            * row.per_delivery,
        )
        for row in rows
    ]
    return lines, fits


def sustained(chip: Chip, bits: int, *, technology: Technology) -> float:
    """Rate of a large square matrix product at the power limit, FLOP/s."""
    built = silicon(chip, technology)
    faster = {16: 1.0, 8: float(chip.compute.rate_8bit)}[bits]
    alu = {16: built.mac_energy_16bit, 8: built.mac_energy_8bit}[bits]
    peak = float(technology.arithmetic.kernel_efficiency * built.peak_compute) * faster
    mac = float(alu + bits * built.delivery_energy)
    stream = float(byte_energy(built)) * 3 * bits / 16 / GEMM_SIZE

    def power(drive: float) -> float:
        point = operating_point(chip, jnp.asarray(drive))
        swing, clock = float(point.dynamic_factor), float(point.clock_factor)
        idle = float(built.static_power * point.static_factor + built.memory_power)
        work = peak * clock * (mac / 2 * swing + stream)
        return idle + float(built.active_power) * swing * clock + work

    top, limit = float(chip.voltage), float(chip.tdp)
    if power(top) <= limit:
        return peak
    drive = brentq(lambda v: power(v) - limit, 1e-3, top)
    return peak * float(operating_point(chip, jnp.asarray(drive)).clock_factor)


def format_ratios(technology: Technology) -> list[tuple[str, float, float]]:
    """Energy per FLOP of 8 over 16 bit at the limit: chip, measured, model."""
    found: list[tuple[str, float, float]] = []
    for name, (_, wide, narrow) in GEMMS.items():
        if narrow:
            chip = load_chip(name)
            rates = [sustained(chip, b, technology=technology) for b in (16, 8)]
            found.append((name, wide / narrow, rates[0] / rates[1]))
    return found


GPU_HOURS = {
    "h100-sxm": 1.30,
    "h200-sxm": 1.41,
    "b200-sxm": 1.95,
    "gb200-nvl72": 2.21,
    "mi300x": 1.12,
    "mi355x": 1.48,
}
"""USD per GPU-hour of a hyperscaler, SemiAnalysisAI/InferenceX-app, April 2026."""


def gpu_hours(technology: Technology) -> list[Line]:
    """Dollars per hour and GPU; the H100's fixes servers and network per chip price.

    $/h = c price_derived crf + ($_W crf_facility + $_J) PUE P_server(TDP)
    """
    data = technology.datacenter
    parts = {name: _money(name, technology) for name in GPU_HOURS}
    chips, power = parts["h100-sxm"]
    factor = (GPU_HOURS["h100-sxm"] - power) / chips
    stock = float(data.server_price_factor / (1 - data.network_price_fraction))
    return [
        Line(name, price, stock * parts[name][0] + parts[name][1], factor * c + p)
        for (name, price), (c, p) in zip(GPU_HOURS.items(), parts.values(), strict=True)
    ]


def _money(name: str, technology: Technology) -> tuple[float, float]:
    data = technology.datacenter
    design = cd.build_design(
        chip=name, model="llama-3-8b", batch=1, prompt_length=1, output_length=2
    )
    built = silicon(unanchored(name), technology)
    drawn = server_power(design, design.chip.tdp) * data.power_usage_effectiveness
    capital = built.price * capital_recovery(data.interest_rate, data.lifetime)
    facility = data.facility_price * capital_recovery(
        data.interest_rate, data.facility_lifetime
    )
    return float(capital) * HOUR, float(
        drawn * (facility + data.electricity_price)
    ) * HOUR


@dataclass(frozen=True)
class Stacks:
    """HBM stacks of a package: as published, as derived, and what edges carry."""

    name: str
    published: float
    derived: float
    row_share: float
    edge_share: float

    @property
    def fits(self) -> bool:
        """Rows of stacks on the long edges, and with the links on the perimeter."""
        return max(self.row_share, self.edge_share) <= 1


def stack_rows(technology: Technology) -> list[Stacks]:
    """Fewest stacks of a size as sold that give capacity and bandwidth.

    N = max(ceil(C / size), ceil(BW / fastest pin speed of the generation))
    """
    found: list[Stacks] = []
    for name in list_presets("chips"):
        info = chip_info(name)
        stacks = info.values["parameters.stacks"]
        if info.memory not in PIN_SPEED or stacks.status not in SOLD:
            continue
        chip = load_chip(name)
        built: Silicon = silicon(chip.replace(anchor=zero_anchor()), technology)
        anchored = silicon(unanchored(name), technology)
        size = next(s for s in PRODUCT_SIZES if s >= float(chip.dram.stack_capacity))
        by_size = math.ceil(float(built.dram_capacity) / size - 1e-9)
        by_pins = math.ceil(float(built.dram_bandwidth) / PIN_SPEED[info.memory] - 1e-9)
        found.append(
            Stacks(
                name,
                stacks.value,
                float(max(by_size, by_pins)),
                row_share=float(
                    anchored.stack_edge_used / anchored.stack_edge_available
                ),
                edge_share=float(anchored.edge_used / anchored.edge_available),
            )
        )
    return found


def mean_error(lines: Sequence[Line]) -> float:
    """Mean of the relative errors, each with its chip left out."""
    return float(np.mean([abs(line.error) for line in lines]))


def page() -> str:
    """All tables as Markdown."""
    technology = load_technology()
    sections = (
        _area_page,
        _gemm_page,
        _format_page,
        _money_page,
        _stack_page,
        lambda _: clock_page(),
        lambda _: user_page(),
        lambda _: archetype_page(),
    )
    head = ["# Silicon: what the equations give for chips that exist", ""]
    head += [
        "`python benchmarks/silicon.py`. Relative errors; *left out* means that",
        "",
    ]
    head[-1] = "constants were fitted without that chip."
    return "\n".join([*head, *(_joined(make, technology) for make in sections), ""])


def _joined(make: Callable[[Technology], list[str]], technology: Technology) -> str:
    return "\n".join(["", *make(technology)])


def _lines(lines: Sequence[Line], digits: int) -> list[str]:
    return [
        f"| {x.name} | {x.published:.{digits}f} | {x.fitted / x.published - 1:+.0%} | "
        f"{x.error:+.0%} |"
        for x in lines
    ]


def _area_page(technology: Technology) -> list[str]:
    lines, fit = area_lines(technology)
    bulk, fast, *fill = np.exp(fit)
    fills = ", ".join(f"{k} {v:.2f}" for k, v in zip(AREA_CLASSES, fill, strict=True))
    worst = max(abs(line.error) for line in lines)
    return [
        "## Die area",
        "",
        f"{len(lines)} dies, {len(fit)} constants, two of them held near the centre of "
        f"their stated spread: bulk SRAM {bulk:.2f} and fast "
        f"{fast:.2f} mm²/MiB at N7, fill: {fills}.",
        f"Left out: mean {mean_error(lines):.1%}, worst {worst:.0%}.",
        "",
        "| die | mm² | fitted | left out |",
        "|---|---|---|---|",
        *_lines(lines, 0),
    ]


def _gemm_page(technology: Technology) -> list[str]:
    lines, fits = gemm_lines(technology)
    wide = [line for line in lines if line.name.endswith("16 bit")]
    narrow = [line for line in lines if line.name.endswith(" 8 bit")]
    constants = ", ".join(f"{k} {v * 1e12:.3f}" for k, v in fits.items())
    return [
        "## Power of a matrix product at the limit",
        "",
        f"{len(GEMMS)} chips, {len(lines)} rows, {len(fits)} constants: operand "
        f"delivery in pJ per bit and MAC at N7, {constants}.",
        f"Left out (chip, both formats): mean {mean_error(lines):.1%}, 16 bit "
        f"{mean_error(wide):.1%}, 8 bit {mean_error(narrow):.1%}.",
        "",
        "| product | W | fitted | left out |",
        "|---|---|---|---|",
        *_lines(lines, 0),
    ]


def _format_page(technology: Technology) -> list[str]:
    rows = format_ratios(technology)
    return [
        "## Energy per operation, 8 over 16 bit, at the power limit",
        "",
        "Anchored chips: 16 bit holds by construction, the ratio is the model's.",
        "",
        "| chip | measured | model |",
        "|---|---|---|",
        *(f"| {n} | {measured:.2f} | {model:.2f} |" for n, measured, model in rows),
    ]


def _money_page(technology: Technology) -> list[str]:
    lines = gpu_hours(technology)
    return [
        "## Dollars per GPU-hour",
        "",
        f"{len(lines) - 1} chips, 1 constant: the H100 fixes what servers and network "
        "add to the derived price.",
        f"The others: mean {mean_error(lines[1:]):.1%}. Stock: with server and network "
        "factors of datacenter.yaml. Facility and electricity at the TDP.",
        "",
        "| chip | USD/h | stock | H100 as input |",
        "|---|---|---|---|",
        *_lines(lines, 2),
    ]


def _stack_page(technology: Technology) -> list[str]:
    rows = stack_rows(technology)
    right = sum(math.isclose(row.published, row.derived) for row in rows)
    fits = sum(row.fits for row in rows)
    return [
        "## Stacks and shoreline",
        "",
        f"{right} of {len(rows)} counts of HBM stacks that are not recalled; {fits} of "
        f"{len(rows)} fit: rows of stacks along the two long edges of their dies, "
        "over whose ends they may stand by what a stack is wider than its interface, "
        "and with the links on the perimeter.",
        "",
        "| chip | stacks | derived | of the long edges | of the perimeter |",
        "|---|---|---|---|---|",
        *(
            f"| {r.name} | {r.published:.0f} | {r.derived:.0f} | {r.row_share:.0%} | "
            f"{r.edge_share:.0%} |"
            for r in rows
        ),
    ]


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the page."""
    parser = argparse.ArgumentParser(description="Write benchmarks/results/silicon.md.")
    parser.add_argument("--out", type=Path, default=RESULTS, help="file of the tables")
    options = parser.parse_args(arguments)
    cd.enable_x64()
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
