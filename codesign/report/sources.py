"""On what does a result rest? Constants and their spread, ranges, versions.

``Result`` -> tables of provenance, of assumed constants and of extrapolation.
"""

import math
import platform
from collections import Counter
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from codesign.config.chips import NO_STORE, ChipInfo, chip_info
from codesign.config.design import locate
from codesign.config.records import STATUSES, ValueInfo, unsure
from codesign.config.stacks import StackInfo, stack_info
from codesign.config.study import Study
from codesign.config.technology import (
    link_values,
    memory_values,
    store_values,
    style_values,
    technology_values,
)
from codesign.config.units import format_quantity
from codesign.core.errors import CodesignError
from codesign.core.quantities import Unit
from codesign.optimize.result import Result
from codesign.quality.validity import TOLERANCE, Validity
from codesign.report.tables import Table, metric_title, shown_rungs
from codesign.report.texts import NONE, number, percent, quantity

PACKAGES = ("codesign", "jax", "jaxlib", "flax", "optax", "numpy", "plotly")
MOST_ROWS = 10
ALWAYS_SHOWN = ("chip.style.min_voltage",)
SHOWN_WITH_NODE = (
    "technology.arithmetic.static_node_exponent",
    "technology.arithmetic.clock_node_exponent",
)
IN_DATASHEET = (  # a chip states these itself, whatever its kind
    "chip.style.reference_clock",
    "chip.dram.stack_capacity",
    "chip.dram.stack_bandwidth",
)
UNCERTAIN = ("assumed", "recalled", "announced", "derived")


def study_chip(study: Study) -> ChipInfo | None:
    """Catalogue entry of the baseline's chip; None if it is not a named one."""
    try:
        return chip_info(_located(study, study.baseline_text["chip"]))
    except (KeyError, CodesignError):
        return None


def study_stack(study: Study) -> StackInfo | None:
    """Catalogue entry of the serving stack; the chip's own unless one is given."""
    chip = study_chip(study)
    name = study.baseline_text.get("stack") or (chip.stack if chip else "")
    try:
        return stack_info(_located(study, name)) if name else None
    except CodesignError:
        return None


def _located(study: Study, name: Any) -> str | Path:
    return locate(str(name), study.path.resolve().parent)


def constants(study: Study) -> dict[str, ValueInfo]:
    """What is known of each constant behind a study, by its path in the design."""
    found = {f"technology.{p}": info for p, info in technology_values().items()}
    stack, chip = study_stack(study), study_chip(study)
    if stack:
        found |= {f"stack.{p}": info for p, info in stack.values.items()}
    if chip:
        found |= _chip_constants(chip)
    return found


def _chip_constants(chip: ChipInfo) -> dict[str, ValueInfo]:
    style = {
        f"chip.style.{path.removeprefix('constants.')}": info
        for path, info in style_values(chip.style).items()
        if path.startswith("constants.")
    }
    memory = {f"chip.dram.{p}": info for p, info in memory_values(chip.memory).items()}
    link = {f"chip.link.{p}": info for p, info in link_values(chip.link).items()}
    cells = store_values(chip.store) if chip.store != NO_STORE else {}
    store = {f"chip.store.{p}": info for p, info in cells.items()}
    sheet = {f"datasheet.{path}": info for path, info in chip.values.items()}
    kinds = {**style, **memory, **link, **store}
    return {p: info for p, info in kinds.items() if p not in IN_DATASHEET} | sheet


def unsure_table(chip: ChipInfo) -> Table:
    """Values of a chip that were announced, recalled or assumed."""
    known = _chip_constants(chip)
    kinds = {p: v for p, v in known.items() if not p.startswith("datasheet.")}
    rows = [
        (
            path.removeprefix("parameters."),
            quantity(info.value, info.unit),
            _range_words(info),
            info.status,
            "; ".join(filter(None, (info.source, info.note))),
        )
        for path, info in unsure(chip.values).items()
    ]
    return Table(
        title=f"Announced, recalled or assumed values of {chip.title}",
        columns=("value of the chip", "taken as", "range", "status", "source"),
        rows=tuple(rows),
        note=f"{len(rows)} of {len(chip.values)} values of the chip; of the constants "
        f"of its style ({chip.style}), memory ({chip.memory}) and link ({chip.link}), "
        f"{len(unsure(kinds))} of {len(kinds)}.",
    )


def _range_words(info: ValueInfo) -> str:
    if info.low is None or info.high is None:
        return NONE
    return f"{quantity(info.low, info.unit)} to {quantity(info.high, info.unit)}"


def status_counts(known: Mapping[str, ValueInfo]) -> str:
    """How many constants there are of each status, as a sentence part."""
    count = Counter(info.status or "no status" for info in known.values())
    known_order = [s for s in STATUSES if s in count]
    order = [*known_order, *(s for s in count if s not in STATUSES)]
    return ", ".join(f"{count[status]} {status}" for status in order)


def spread_table(result: Result, known: Mapping[str, ValueInfo]) -> Table:
    """Constants whose stated range moves the best design's objective most.

    The minimum voltage is always among them, static power by node where it is free.

    effect = elasticity * ln(end of the range / value), to first order
    """
    rows: list[tuple[str, ...]] = []
    effects = _effects(result, known)
    strongest = sorted(
        effects, key=lambda path: -abs(effects[path][1] - effects[path][0])
    )
    free = {variable.path for variable in result.study.free}
    asked = (*ALWAYS_SHOWN, *(SHOWN_WITH_NODE if "chip.node" in free else ()))
    others = [path for path in asked if path in strongest[MOST_ROWS:]]
    for path in [*strongest[:MOST_ROWS], *others]:
        info = known[path]
        low, high = (math.expm1(effect) for effect in effects[path])
        cells = (
            path,
            quantity(info.value, info.unit),
            f"{quantity(info.low, info.unit)} to {quantity(info.high, info.unit)}",
            " ".join(filter(None, (info.status, info.confidence))),
            f"{_signed(low)} to {_signed(high)}",
        )
        rows.append(cells)
    spread = percent(objective_spread(result, known), digits=2)
    return Table(
        title="Constants that matter most",
        columns=("constant", "value", "range", "status", "objective over the range"),
        rows=tuple(rows),
        note=f"All ranges together, as if independent: ± {spread} on the level of "
        f"{metric_title(result.study.minimize)} of the {result.best.name} design, to "
        "first order. The comparison moves less, because most constants stand on both "
        "sides. Letters: confidence in the source, A to C.",
    )


def objective_spread(result: Result, known: Mapping[str, ValueInfo]) -> float:
    """Relative half-width of the best design's objective over all stated ranges.

    s = sqrt(sum (elasticity ln(high / low) / 2)^2)

    Assumes: independent constants, first order.
    """
    halves = [(high - low) / 2 for low, high in _effects(result, known).values()]
    return math.sqrt(sum(half**2 for half in halves))


def _effects(
    result: Result, known: Mapping[str, ValueInfo]
) -> dict[str, tuple[float, float]]:
    """Change of ln objective at both ends of each constant's range."""
    evidence = result.evidence
    found: dict[str, tuple[float, float]] = {}
    for path, elasticity in (evidence.elasticities if evidence else {}).items():
        ends = _ends(known.get(path))
        if ends is not None:
            found[path] = elasticity * ends[0], elasticity * ends[1]
    return found


def _ends(info: ValueInfo | None) -> tuple[float, float] | None:
    """Logarithms of both ends of a range over its value."""
    numbers = (info.value, info.low, info.high) if info else ()
    if not numbers or not all(isinstance(v, (int, float)) and v > 0 for v in numbers):
        return None
    value, low, high = map(float, numbers)
    return math.log(low / value), math.log(high / value)


def _signed(share: float) -> str:
    return f"{'+' if share > 0 else ''}{percent(share)}"


def validity_table(result: Result) -> Table:
    """Where a model leaves the range in which the quality law has evidence."""
    rungs = shown_rungs(result)
    rows: list[tuple[str, ...]] = []
    for name in Validity.__dataclass_fields__:
        values = [float(getattr(r.quality.validity, name)) for r in rungs]
        if max(values) > TOLERANCE:
            cells = [_beyond(v) for v in values]
            rows.append((name.replace("_", " "), *cells))
    return Table(
        title="Extrapolation of the quality law",
        columns=("range", *(f"{r.name}, used" for r in rungs)),
        rows=tuple(rows),
        note="" if rows else "Every model shown lies inside the law's evidence.",
    )


def _beyond(log_ratio: float) -> str:
    return percent(math.exp(log_ratio)) if log_ratio > TOLERANCE else "inside"


def assumptions(result: Result, known: Mapping[str, ValueInfo]) -> tuple[str, ...]:
    """What a reader must grant, in sentences."""
    study = result.study
    request, stack, chip = study.baseline.request, study_stack(study), study_chip(study)
    rate = float(request.rate)
    load = (
        f"open loop at {format_quantity(rate, Unit('request/s'))}"
        if rate > 0
        else "closed loop: the batch is always full"
    )
    sentences = [
        f"Requests: {number(request.prompt_length, digits=6)} prompt and "
        f"{number(request.output_length, digits=6)} output tokens on average, "
        f"{percent(float(request.prefix_hit_fraction))} of the prompt reused; "
        f"steady state, {load}."
    ]
    if stack:
        sentences.append(
            f"Software: {stack.title} ({stack.name}), the same for all designs, so "
            "that differences come from silicon and model. "
            f"{_fit_words(stack)}"
        )
    if chip:
        sentences.append(
            f"Hardware: derived from parameters and technology, times the residuals "
            f"of {chip.title}, whose style ({chip.style}) all designs share."
        )
    uncertain = [p for p, info in known.items() if info.status in UNCERTAIN]
    sentences.append(
        f"Constants: {len(known)} with a stated source ({status_counts(known)}); "
        f"{len(uncertain)} of them are not measured."
    )
    return tuple(sentences)


def _fit_words(stack: StackInfo) -> str:
    fitted = [p for p, info in stack.values.items() if info.status == "calibrated"]
    measured = f"{len(fitted)} of its {len(stack.values)} constants are fitted"
    rest = sorted(p for p, v in stack.values.items() if v.status == "assumed")
    if not rest:
        return f"{measured}."
    return f"{measured}; only assumed: {', '.join(rest)}."


def provenance_table(
    result: Result,
    known: Mapping[str, ValueInfo],
    *,
    timings: Mapping[str, float] | None = None,
) -> Table:
    """Versions, seed, sizes and times, enough to repeat the run."""
    study = result.study
    sources = {info.source for info in known.values() if info.source}
    seconds = {**result.timings, **(timings or {})}
    rows = [
        ("study", study.name),
        ("file", study.path.name),
        ("objective", f"minimize {study.minimize}"),
        ("subject to", "; ".join(limit.text for limit in study.limits) or NONE),
        ("starts", str(study.search.starts)),
        ("seed", str(study.search.seed)),
        ("duration of the search", quantity(result.seconds, Unit("s"))),
        *((f"time, {name}", quantity(v, Unit("s"))) for name, v in seconds.items()),
        ("constants", f"{len(known)} from {len(sources)} sources"),
        ("Python", platform.python_version()),
        ("machine", f"{platform.system()} {platform.machine()}"),
        *((name, version(name)) for name in PACKAGES),
    ]
    return Table("Provenance", ("", ""), tuple(rows))


def version(name: str) -> str:
    """Installed version of a package."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "not installed"
