"""Which numbers does a result hold? Texts with units, ready for page or terminal.

``Result`` -> headline and tables; a cell is a text, a table carries its caption.
"""

import math
from dataclasses import dataclass, field

from codesign.config.limits import metric_units
from codesign.config.variables import Variable
from codesign.core.paths import get_path
from codesign.core.quantities import Unit
from codesign.optimize.result import Result, Rung
from codesign.outcome.answer import metric
from codesign.report.texts import (
    SMALLEST_SHARE,
    change,
    common_unit,
    number,
    percent,
    quantity,
)

Tones = dict[tuple[int, int], str]

GOOD, BAD = "good", "bad"

# Path, title, and whether lower (-1) or higher (+1) is better; 0 where neither is.
METRICS: tuple[tuple[str, str, int], ...] = (
    ("energy_per_token_server", "energy per output token, server", -1),
    ("energy_per_token", "energy per output token, chip", -1),
    ("energy_per_token_facility", "energy per output token, facility", -1),
    ("energy_per_request", "energy per answer, chip", -1),
    ("energy_per_byte_server", "energy per byte of text, server", -1),
    ("energy_per_answer", "energy per answer, server", -1),
    ("time_per_output_token", "time per output token", -1),
    ("time_to_first_token", "time to first token", -1),
    ("request_latency", "time per answer", -1),
    ("throughput", "throughput of the system", 1),
    ("usd_per_token", "price per output token", -1),
    ("carbon_per_token", "carbon per output token", -1),
    ("quality.gap", "quality gap, Δ ln compute", -1),
    ("quality.gap_nats", "quality gap, nats", -1),
    ("batch", "running sequences", 0),
    ("max_batch", "largest batch that fits", 0),
    ("power", "mean power per chip", 0),
    ("chip.area", "silicon area per chip", 0),
    ("chip.price", "price per chip", -1),
    ("memory.used", "memory used per chip", 0),
)
# Shown where a study asks for them.
ON_DEMAND: tuple[tuple[str, str, int], ...] = (
    ("energy_per_byte", "energy per byte of text, chip", -1),
    ("energy_per_byte_facility", "energy per byte of text, facility", -1),
    ("usd_per_byte", "price per byte of text", -1),
    ("usd_per_answer", "price per answer", -1),
    ("time_per_byte", "time per byte of text", -1),
    ("bytes_per_token", "text per token", 0),
    ("tokens_per_answer", "tokens per answer", 0),
    ("accuracy", "accuracy of answers (display)", 1),
    ("lifetime_energy", "energy over the life of the model", -1),
    ("training_energy", "energy of training", -1),
    ("inference_energy", "energy of all inference", -1),
)
TITLES = {path: title for path, title, _ in (*METRICS, *ON_DEMAND)}
BETTER = {path: sense for path, _, sense in (*METRICS, *ON_DEMAND)}
EQUAL_GAP = 0.005  # in ln compute: half a percent of training compute
HEADLINE = (
    "energy_per_token_server",
    "time_per_output_token",
    "usd_per_token",
    "throughput",
)


@dataclass(frozen=True)
class Table:
    """Rows of texts; ``tones`` marks cells (row, column) as good or bad."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""
    tones: dict[tuple[int, int], str] = field(
        default_factory=dict[tuple[int, int], str]
    )


@dataclass(frozen=True)
class KeyNumber:
    """One number of the headline: what, how much, change, and against what."""

    title: str
    value: str
    change: str
    tone: str
    note: str


@dataclass(frozen=True)
class Headline:
    """Three numbers and the sentence that says what they mean."""

    numbers: tuple[KeyNumber, ...]
    sentence: str
    status: str
    feasible: bool


def shown_rungs(result: Result) -> tuple[Rung, ...]:
    """As given, tuned and best, each once."""
    chosen: dict[int, Rung] = {}
    for rung in (result.as_given, result.baseline, result.best):
        chosen.setdefault(id(rung), rung)
    return tuple(chosen.values())


def metric_value(rung: Rung, path: str) -> float:
    """Value of a metric by name."""
    return float(metric(rung, path))


def metric_unit(path: str) -> Unit:
    """Unit of a metric by its path."""
    return metric_units()[path]


def metric_title(path: str) -> str:
    """Words for a metric.

    Example:
        >>> metric_title("usd_per_token"), metric_title("chip.die_area")
        ('price per output token', 'chip die area')
    """
    return TITLES.get(path) or path.replace(".", " ").replace("_", " ")


def judge(path: str, new: float, *, old: float) -> str:
    """Tone of a change: good, bad, or nothing where neither is better."""
    sense = BETTER.get(path, 0)
    if not sense or not abs(new - old) > SMALLEST_SHARE * abs(old):
        return ""
    return GOOD if (new - old) * sense > 0 else BAD


def headline(result: Result) -> Headline:
    """Objective, latency and price of the best design, and one sentence."""
    paths = [result.study.minimize]
    paths += [path for path in HEADLINE if path not in paths]
    return Headline(
        numbers=tuple(_key_number(result, path) for path in paths[:3]),
        sentence=_sentence(result),
        status=result.status,
        feasible=result.feasible,
    )


def _key_number(result: Result, path: str) -> KeyNumber:
    values = {rung.name: metric_value(rung, path) for rung in shown_rungs(result)}
    unit, scale = common_unit(list(values.values()), metric_unit(path))
    new, old = metric_value(result.best, path), metric_value(result.baseline, path)
    others = [
        f"{name} {number(value / scale)}"
        for name, value in values.items()
        if name != result.best.name
    ]
    return KeyNumber(
        title=metric_title(path),
        value=f"{number(new / scale)} {unit}".strip(),
        change=f"{change(new, old)} vs {result.baseline.name}",
        tone=judge(path, new, old=old),
        note=", ".join(reversed(others)),
    )


def _sentence(result: Result) -> str:
    path = result.study.minimize
    given, tuned, best = (
        metric_value(rung, path)
        for rung in (result.as_given, result.baseline, result.best)
    )
    unit, scale = common_unit([best, tuned, given], metric_unit(path))
    texts = [number(value / scale) for value in (best, tuned, given)]
    lead = (
        f"{metric_title(path).capitalize()}: {texts[0]} {unit} {result.best.name}, "
        f"{texts[1]} {result.baseline.name}, {texts[2]} {result.as_given.name}. Tuning "
        f"the baseline brings {change(tuned, given)}; at equal limits "
        f"{_what_moved(result)} brings a further {change(best, tuned)}, and "
        f"{_quality_words(result.best)}."
    )
    if result.feasible:
        return lead
    return f"The design shown breaks a limit ({result.best.worst}). {lead}"


def _what_moved(result: Result) -> str:
    moved = [
        name
        for name in ("chip", "system", "model", "deployment")
        if any(
            v.path.startswith(f"{name}.")
            and get_path(result.best.design, v.path)
            != get_path(result.baseline.design, v.path)
            for v in result.study.free
        )
    ]
    if not moved:
        return "an unchanged design"
    last = f" and {moved[-1]}" if moved[1:] else moved[-1]
    return f"changing {', '.join(moved[:-1])}{last}"


def _quality_words(rung: Rung) -> str:
    gap = float(rung.quality.gap)
    if abs(gap) < EQUAL_GAP:
        return f"the model is as good as the baseline's (gap {number(gap)})"
    side = "better than" if gap < 0 else "worse than"
    return (
        f"the model is {side} the baseline's: it is worth one trained with "
        f"{number(math.exp(-gap))} times the compute"
    )


def comparison_table(result: Result) -> Table:
    """Metrics of as given, tuned and best; percentages refer to tuned."""
    rungs = shown_rungs(result)
    old = result.baseline
    rows: list[tuple[str, ...]] = []
    tones: Tones = {}
    for path in _metric_paths(result):
        values = [metric_value(rung, path) for rung in rungs]
        name, scale = common_unit(values, metric_unit(path))
        new_value, old_value = metric_value(result.best, path), metric_value(old, path)
        last = (
            _difference(new_value - old_value)
            if path.startswith("quality.")
            else change(new_value, old_value)
        )
        tones[len(rows), len(rungs) + 2] = judge(path, new_value, old=old_value)
        cells = [number(value / scale) for value in values]
        rows.append((_marked(result, path), name, *cells, last))
    return Table(
        title="Before and after",
        columns=("", "unit", *(r.name for r in rungs), f"vs {old.name}"),
        rows=tuple(rows),
        note="★ is what the search minimised. Energies and times include prefill; "
        "a quality gap is relative to the baseline's model, negative is better, "
        "and its change is a difference.",
        tones=tones,
    )


def _difference(value: float) -> str:
    return f"{'+' if value > 0 else ''}{number(value)}"


def _metric_paths(result: Result) -> list[str]:
    study = result.study
    asked = [study.minimize, *(limit.metric for limit in study.limits)]
    if study.terms.answers:
        asked += ["tokens_per_answer", "accuracy"]
    if float(study.baseline.request.lifetime_tokens) > 0:
        asked += ["lifetime_energy", "training_energy", "inference_energy"]
    return list(dict.fromkeys([*[path for path, _, _ in METRICS], *asked]))


def _marked(result: Result, path: str) -> str:
    star = " ★" if path == result.study.minimize else ""
    return f"{metric_title(path)}{star}"


def ladder_table(result: Result) -> Table:
    """Every rung with its objective and the change against tuned and before."""
    path = result.study.minimize
    values = [rung.objective for rung in result.rungs]
    name, scale = common_unit(values, metric_unit(path))
    rows = [
        (
            rung.name,
            number(rung.objective / scale),
            change(rung.objective, result.baseline.objective),
            quantity(float(rung.cost.time_per_output_token), Unit("s/token")),
            number(float(rung.quality.gap)),
            "yes" if rung.feasible else f"no: {rung.worst}",
        )
        for rung in result.rungs
    ]
    return Table(
        title="Ladder",
        columns=(
            "rung",
            f"{metric_title(path)} [{name}]",
            f"vs {result.baseline.name}",
            "time per output token",
            "quality gap",
            "limits kept",
        ),
        rows=tuple(rows),
    )


def variables_table(result: Result) -> Table:
    """Free variables: bounds, values on each rung, and which end they reached."""
    rungs = shown_rungs(result)
    edges = _edges(result)
    rows: list[tuple[str, ...]] = []
    tones: Tones = {}
    for variable in result.study.free:
        values = [float(get_path(rung.design, variable.path)) for rung in rungs]
        unit = Unit(variable.unit)
        name, scale = common_unit(values, unit)
        cells = [number(value / scale, digits=4) for value in values]
        edge = edges.get(variable.path, "")
        if edge:
            tones[len(rows), len(rungs) + 3] = BAD
        legal = _legal_values(variable, scale=scale)
        rows.append((variable.path, name, *cells, legal, edge))
    return Table(
        title="Variables",
        columns=("variable", "unit", *(r.name for r in rungs), "allowed", "at bound"),
        rows=tuple(rows),
        note="A variable at a bound would move further if it were allowed to.",
        tones=tones,
    )


def _edges(result: Result) -> dict[str, str]:
    found: dict[str, str] = {}
    for text in result.evidence.at_bound if result.evidence else ():
        path, _, words = text.partition(" at its ")
        found[path] = words.removesuffix(" bound")
    return found


def _legal_values(variable: Variable, *, scale: float) -> str:
    text = f"{number(variable.low / scale)} to {number(variable.high / scale)}"
    if variable.choices:
        text = ", ".join(number(value / scale) for value in variable.choices)
    if variable.high_path:
        text += f", at most {variable.high_path}"
    if variable.multiple:
        text += f", multiples of {number(variable.multiple / scale)}"
    return text


def boundary_table(result: Result) -> Table:
    """What the joules of each boundary include, and how many they are."""
    rungs = shown_rungs(result)
    data = result.study.baseline.technology.datacenter
    host = (
        f"+ host {quantity(float(data.host_power), Unit('W'))} per chip, fans "
        f"{percent(float(data.fan_fraction))}, conversion loss "
        f"{percent(1 - float(data.conversion_efficiency))}"
    )
    losses = f"+ cooling and distribution, PUE {number(data.power_usage_effectiveness)}"
    chip = "package with its DRAM: arithmetic, memories, links, idle and leakage"
    lines = (
        ("chip", "energy_per_token", chip),
        ("server", "energy_per_token_server", host),
        ("facility", "energy_per_token_facility", losses),
    )
    values = [metric_value(r, path) for _, path, _ in lines for r in rungs]
    name, scale = common_unit(values, Unit("J/token"))
    return Table(
        title="What the joules include",
        columns=("boundary", "includes", *(f"{r.name} [{name}]" for r in rungs)),
        rows=tuple(
            (label, words, *(number(metric_value(r, path) / scale) for r in rungs))
            for label, path, words in lines
        ),
        note="All per output token, the prefill of its prompt included, all chips of "
        "the system counted. Not included: network between servers, training of the "
        "model, making of the hardware (carbon counts it), idle hours of a service "
        "(the system is busy at the stated batch).",
    )
