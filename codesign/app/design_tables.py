"""Which tables describe the cost of one design?

Design and cost -> headline, memory, energy and time by component, operators.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from codesign.core.paths import get_path, path_units
from codesign.core.quantities import Scalar, Unit
from codesign.core.record import Record
from codesign.cost.detail import RESOURCES, operator_costs
from codesign.cost.record import Cost
from codesign.cost.total import drafting
from codesign.outcome.service import Service
from codesign.report.breakdown import COMPONENTS, DURATIONS
from codesign.report.breakdown_tables import parts_table
from codesign.report.tables import BAD, Table, metric_title
from codesign.report.texts import number, percent, quantity
from codesign.serving.design import Design
from codesign.study.line import violated_limits

if TYPE_CHECKING:
    from collections.abc import Mapping

HEADLINE = (
    "time_to_first_token",
    "time_per_output_token",
    "inter_token_latency",
    "request_latency",
    "queue_time",
    "tokens_per_step",
    "throughput",
    "batch",
    "max_batch",
    "energy_per_token",
    "energy_per_token_server",
    "energy_per_token_facility",
    "energy_per_request",
    "power",
    "decode_power",
    "prefill_power",
    "power_server",
    "power_facility",
    "usd_per_token",
    "usd_per_second",
    "carbon_per_token",
    "chip.area",
    "chip.price",
)
TITLES = {
    "time_per_output_token": "time per output token, mean",
    "inter_token_latency": "time per output token, median",
    "queue_time": "wait in the queue",
    "tokens_per_step": "tokens per step, guesses accepted",
    "decode_power": "power per chip in decode steps",
    "prefill_power": "power per chip in steps with prefill",
    "power_server": "mean power per chip, server",
    "power_facility": "mean power per chip, facility",
    "usd_per_second": "price of a chip at work, facility",
}
LEAST_SHOWN = {"queue_time": 0.0, "tokens_per_step": 1.0}
LIFE = ("inference_energy", "lifetime_energy")
BYTES, SECONDS = Unit("B"), Unit("s")
YEAR = 31557600.0  # seconds
ARRAYS = COMPONENTS["converter"]  # left out where a chip has none
SHOWN_STEPS = {"decode": "Decode step", "prompt": "Step that prefills one prompt"}
LEAST_SHARE = 1e-3  # operators below this share of the time stand in one line


def design_tables(design: Design, cost: Cost, *, served: Service) -> Iterator[Table]:
    """All tables of one design, the operators last."""
    yield headline_table(cost)
    yield service_table(design, served)
    yield memory_table(cost)
    yield energy_table(design, cost)
    yield time_table(cost)
    yield money_table(design, cost)
    held = _settled(design, cost)
    for kind, title in SHOWN_STEPS.items():
        yield operators_table(held, kind=kind, title=title)
    if design.draft is not None:
        yield operators_table(drafting(held), kind="decode", title="Draft step")
    if violated_limits(cost):
        yield limits_table(cost)


def headline_table(cost: Cost) -> Table:
    """Latency, throughput, energy by boundary, power, price and carbon."""
    units = path_units(Cost)
    rows = [
        (
            TITLES.get(path) or metric_title(path),
            quantity(float(get_path(cost, path)), units[path]),
        )
        for path in HEADLINE
        if float(get_path(cost, path)) > LEAST_SHOWN.get(path, -1.0)
    ]
    return Table(title="", columns=("metric", "value"), rows=tuple(rows))


def service_table(design: Design, served: Service) -> Table:
    """Cost per byte of text, per answer, and over the life of the model."""
    units = path_units(Service)
    alive = float(design.request.lifetime_tokens) > 0
    names = [n for n in units if alive or n not in LIFE]
    rows = [
        (metric_title(n), quantity(float(getattr(served, n)), units[n])) for n in names
    ]
    return Table(
        title="Text, answers and life",
        columns=("metric", "value"),
        rows=tuple(rows),
        note="At the server's plug unless it says more. Accuracy follows from the "
        "benchmark score of the quality law and an assumed gain from thought: a dial, "
        "not a claim."
        + ("" if alive else " For energy over the life give --lifetime-tokens."),
    )


def memory_table(cost: Cost) -> Table:
    """What fills the memory of one chip, and what of it is served on chip."""
    held = cost.memory
    peak = held.used - held.weight_bytes
    rows = [
        ("weights", held.weight_bytes, held.weight_residency),
        ("KV cache at its peak", peak, held.kv_residency),
        ("used", held.used, np.nan),
        ("available", held.available, np.nan),
    ]
    return Table(
        title="Memory per chip",
        columns=("part", "size", "of available", "served on chip"),
        rows=tuple(
            (
                name,
                quantity(float(size), BYTES),
                percent(float(size / held.available)),
                percent(float(on_chip)),
            )
            for name, size, on_chip in rows
        ),
    )


def energy_table(design: Design, cost: Cost) -> Table:
    """Joules per output token, and per decode and prompt step of all chips."""
    chips = float(design.system.num_chips)
    bills = cost.breakdown
    columns = {
        "per output token": _parts(bills.energy, COMPONENTS),
        "decode step": _parts(bills.decode_joules, COMPONENTS, scale=chips),
        "prompt step": _parts(bills.prompt_joules, COMPONENTS, scale=chips),
    }
    if not columns["prompt step"][ARRAYS]:
        for parts in columns.values():
            del parts[ARRAYS]
    return _with_shares("Energy, all chips", columns, unit=Unit("J"))


def time_table(cost: Cost) -> Table:
    """Seconds of the mean step, the decode step and the prompt step."""
    bills = cost.breakdown
    columns = {
        "mean step": _parts(bills.step_seconds, DURATIONS),
        "decode step": _parts(bills.decode_seconds, DURATIONS),
        "prompt step": _parts(bills.prompt_seconds, DURATIONS),
    }
    return _with_shares("Time of one step", columns, unit=SECONDS)


MONEY = {
    "chip": ("chip", "chip, over its life"),
    "masks": ("chip", "masks of a model"),
    "chip_energy": ("chip", "electricity of the chip"),
    "server": ("server", "server and network"),
    "server_energy": ("server", "electricity of host, fans, conversion"),
    "facility": ("facility", "building and power supply"),
    "facility_energy": ("facility", "electricity of cooling"),
}
"""Boundary at which each part of the money arises, and its words."""


def money_table(design: Design, cost: Cost) -> Table:
    """Dollars per chip-hour and per million tokens, by part and by boundary."""
    per_hour, per_million = Unit("USD/s"), Unit("USD/token")
    bill, whole = cost.breakdown.usd, float(cost.usd_per_second)
    tokens = float(cost.usd_per_second / cost.usd_per_token)
    parts = {name: float(getattr(bill, name)) for name in MONEY}
    rows = [
        (words, place, parts[name])
        for name, (place, words) in MONEY.items()
        if parts[name] > 0
    ]
    reached = 0.0
    for boundary in dict.fromkeys(place for place, _ in MONEY.values()):
        reached += sum(v for n, v in parts.items() if MONEY[n][0] == boundary)
        rows.append((f"up to the {boundary}", boundary, reached))
    return Table(
        title="Money",
        columns=("part", "boundary", "per chip-hour", "per tokens", "share"),
        rows=tuple(
            (
                words,
                place,
                quantity(value, per_hour),
                quantity(value / tokens, per_million),
                percent(value / whole),
            )
            for words, place, value in rows
        ),
        note=_money_words(design, cost),
    )


def _money_words(design: Design, cost: Cost) -> str:
    """Every assumption behind the money and the carbon."""
    data, found = design.technology.datacenter, cost.breakdown.carbon
    hours = 1 / float(data.utilization)
    embodied = float(found.embodied) / float(found.embodied + found.operation)
    price = quantity(float(data.electricity_price), Unit("USD/J"))
    watt = quantity(float(data.facility_price), Unit("USD/W"))
    return (
        f"A chip of {quantity(float(cost.chip.price), Unit('USD'))}, server "
        f"{number(float(data.server_price_factor))} times that, network "
        f"{percent(float(data.network_price_fraction))} of the sum, over "
        f"{_years(data.lifetime)} at {percent(float(data.interest_rate) * YEAR)} a "
        f"year; building {watt} of provisioned power over "
        f"{_years(data.facility_lifetime)}; electricity {price}, PUE "
        f"{number(float(data.power_usage_effectiveness))}. Utilisation "
        f"{percent(float(data.utilization))}: an hour of work pays for "
        f"{number(hours)} h of capital. Of the carbon, {percent(embodied)} is "
        "embodied. Change them with --set technology.datacenter.…=…"
    )


def _years(lifetime: Scalar) -> str:
    return f"{number(float(lifetime) / YEAR)} years"


def operators_table(design: Design, *, kind: str, title: str) -> Table:
    """Time, energy and bottleneck of each operator of one step on one chip."""
    found = operator_costs(design, kind=kind)
    times = {name: float(each.seconds) for name, each in found.items()}
    whole = sum(times.values())
    order = sorted(times, key=lambda name: -times[name])
    shown = [name for name in order if times[name] >= LEAST_SHARE * whole]
    rows = [
        (
            name,
            number(float(found[name].count)),
            quantity(times[name], SECONDS),
            percent(times[name] / whole),
            quantity(float(found[name].joules), Unit("J")),
            RESOURCES[int(found[name].binding)],
        )
        for name in shown
    ]
    return Table(
        title=f"{title}, operators on one chip",
        columns=("operator", "times", "time", "share", "energy", "waits for"),
        rows=tuple(rows),
    )


def limits_table(cost: Cost) -> Table:
    """Limits that the design breaks."""
    broken = violated_limits(cost)
    return Table(
        title="Limits that are broken",
        columns=("limit", "use over limit"),
        rows=tuple((name, number(ratio, digits=4)) for name, ratio in broken.items()),
        tones={(row, 1): BAD for row in range(len(broken))},
    )


def _settled(design: Design, cost: Cost) -> Design:
    deployment = design.deployment.replace(batch=cost.batch)
    return design.replace(deployment=deployment)


def _parts(
    bill: Record, names: "Mapping[str, str]", *, scale: float = 1.0
) -> dict[str, float]:
    return {title: scale * float(get_path(bill, name)) for name, title in names.items()}


def _with_shares(
    title: str, columns: "Mapping[str, Mapping[str, float]]", *, unit: Unit
) -> Table:
    """A table of parts in which each column has its own unit and shares."""
    rows: list[list[str]] = []
    headings: list[str] = []
    for name, parts in columns.items():
        table = parts_table(title, {name: parts}, unit=unit)
        whole = sum(parts.values())
        label = table.columns[0].removeprefix("component").strip(" []")
        headings += [f"{name} [{label}]", "share"]
        shares = [percent(value / whole) for value in parts.values()] + ["100 %"]
        if not rows:
            rows = [[row[0]] for row in table.rows]
        for line, row, share in zip(rows, table.rows, shares, strict=True):
            line += [row[1], share]
    return Table(
        title=title,
        columns=("component", *headings),
        rows=tuple(tuple(line) for line in rows),
    )
