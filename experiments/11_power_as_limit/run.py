"""What is a watt worth where watts are short, and what strands capital?

Study beside this file -> README.md, figures and numbers.json beside this file.

    python experiments/11_power_as_limit/run.py            # the page
    python experiments/11_power_as_limit/run.py --small    # fewer draws
"""

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from experiments.common import figure as fig
from experiments.common.draws import (
    SOFTWARE,
    Case,
    at,
    build_case,
    case_of,
    elasticity,
    evaluate_cases,
)
from experiments.common.page import (
    Run,
    band,
    elasticity_table,
    log,
    main,
    measured,
    table,
    two,
)
from experiments.common.verdict import part

COMMAND = "python experiments/11_power_as_limit/run.py"
CHIPS = {
    "h100-sxm": 8,
    "h200-sxm": 8,
    "b200-sxm": 8,
    "a100-sxm-80gb": 8,
    "mi300x": 8,
    "tpu-v4": 8,
    "trainium2": 16,
}
SUPPLY = 1e6  # W at the meter
YEAR = 365.0 * 86400
REQUESTS = 1e6  # per day
SAVED = 0.3
GAINS = np.linspace(0.0, 1.0, 21)  # yearly fall of the price of a token
MARGIN = 0.3  # of the price of a token over its cost at the start


def serving(run: Run, chip: str, *, stack: str | None) -> Case:
    """The study's service on another chip."""
    given, request = run.study.resolved["baseline"], run.study.baseline.request
    return build_case(
        chip,
        chip=chip,
        stack=stack,
        num_chips=CHIPS[chip],
        tensor_parallel=8,
        model=str(given["model"]),
        batch=float(given["batch"]) * CHIPS[chip] / 8,
        prompt_length=float(request.prompt_length),
        output_length=float(request.output_length),
    )


def facts(cost: Any) -> dict[str, np.ndarray]:
    """Under one megawatt: tokens per second; dollars per token with the chips free.

    Free chips still need servers, buildings and energy.
    """
    usd, joule = cost.breakdown.usd, cost.energy_per_token_facility
    whole = cost.usd_per_token
    money = {n: np.asarray(getattr(usd, n)) for n in usd.__dataclass_fields__}
    second = sum(money.values())
    bill = money["chip_energy"] + money["server_energy"] + money["facility_energy"]
    capital = money["chip"] + money["masks"]
    return {
        "rate": SUPPLY / joule,
        "usd": whole,
        "energy_share": bill / second,
        "free": whole * (1 - capital / second),
        "chip_share": capital / second,
        "joule": joule,
    }


def wall_power(folder: Path) -> dict[str, Any]:
    """Joules per token at the wall of MLPerf servers, Llama-2-70B, by accelerator."""
    found: dict[str, list[float]] = {}
    with (folder / "mlperf.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            if row["power_w"] and row["model"].startswith("llama2-70b"):
                name = f"{row['accelerator']}, {row['scenario']}"
                found.setdefault(name, []).append(float(row["system_j_per_token"]))
    return {name: float(np.median(values)) for name, values in sorted(found.items())}


def payback(margin: np.ndarray, *, fall: float, life: float) -> np.ndarray:
    """Years until income has paid the capital, while the price of a token falls.

    Income over running cost starts at (1 + margin) of what pays the capital back over
    its life, and falls by a share each year. Infinite where it never does.
    """
    rate = -np.log1p(-min(fall, 1 - 1e-9))
    start = (1 + margin) / life
    if rate < 1e-9:
        return 1 / start
    left = 1 - rate / start
    return np.where(left > 0, -np.log(np.where(left > 0, left, 1.0)) / rate, np.inf)


def write(run: Run) -> None:
    """All numbers, figures and the page."""
    log.info("chips under one megawatt")
    found = {}
    for title, stack in SOFTWARE.items():
        cases = [serving(run, chip, stack=stack) for chip in CHIPS]
        costs = evaluate_cases(cases, draws=run.draws)
        found[title] = {
            chip: facts(cost) for chip, cost in zip(CHIPS, costs, strict=True)
        }
    base = case_of(run.study)
    limits = run.values("deployment.power_limit")
    capped = [
        facts(c)
        for c in evaluate_cases(
            [at(base, deployment__power_limit=w) for w in limits], draws=run.draws
        )
    ]
    data, source = measured(run, "measured_wall", summarise=wall_power)
    equal = next(iter(found.values()))
    old, new = equal["a100-sxm-80gb"], equal["h200-sxm"]
    draw(run, equal)
    run.add("# 11 What is a watt worth where watts are short?")
    claim_sixteen(run, equal, old=old, new=new)
    claim_eighteen(run, equal["h100-sxm"], request=run.study.baseline.request)
    claim_stranded(run, equal["h100-sxm"], data=base)
    run.add("![Tokens per second and megawatt against dollars](megawatt.svg)")
    tables(run, found, capped=capped, limits=limits, data=data, source=source)


def claim_sixteen(
    run: Run,
    equal: dict[str, dict[str, np.ndarray]],
    *,
    old: dict[str, np.ndarray],
    new: dict[str, np.ndarray],
) -> None:
    """Free inefficient chips against paid efficient ones."""
    value = new["rate"] / old["rate"]
    # price of a token at which income per megawatt less cost is equal for both
    even = (new["rate"] * new["usd"] - old["rate"] * old["free"]) / (
        new["rate"] - old["rate"]
    )
    share = equal["h100-sxm"]["energy_share"]
    run.claim(
        16,
        "With power as the limit, perf/W beats price; even free chips can be too "
        "expensive.",
        parts=[
            part("a free A100 makes dearer tokens than a paid H200",
                 old["free"] > new["usd"]),
            part("a megawatt makes over 1.5 times as many tokens on H200 as on A100",
                 value > 1.5),
            part("where a token sells at three times its H200 cost, a megawatt earns "
                 "more with paid H200 than with free A100",
                 new["rate"] * 2 * new["usd"]
                 > old["rate"] * (3 * new["usd"] - old["free"])),
        ],
        gist=f"""Under one megawatt H200 makes {band(value)} times the tokens of A100
        (energy is {band(share, "%", scale=0.01)} of an H100's cost). A token costs
        {band(new["usd"], "USD/M", scale=1e-6)} on paid H200 and
        {band(old["free"], "USD/M", scale=1e-6)} on free A100, servers and buildings
        paid. A megawatt earns more on paid H200 than on free A100 once a million tokens
        sells above {two(float(np.median(even[1:])) * 1e6)} USD (median of the
        draws).""",
    )  # fmt: skip


def claim_eighteen(run: Run, got: dict[str, np.ndarray], *, request: Any) -> None:
    """Thirty percent of the energy of a million requests a day."""
    length = float(request.output_length)
    joules = got["joule"] * length * REQUESTS / 86400  # W, mean
    bill = got["usd"] * length * REQUESTS * 365
    saved = SAVED * got["energy_share"]
    dollars = saved * bill
    run.claim(
        18,
        "Saving 30 % power per request at a million requests a day decides viability.",
        parts=[
            part("it saves over 10 % of the cost", saved > 0.1),
            part("it saves over 100 kW of supply", SAVED * joules > 1e5),
        ],
        gist=f"""A million requests a day of {length:g} tokens draw
        {band(joules, "kW", scale=1e3)} and cost {band(bill, "kUSD", scale=1e3)} a year.
        30 % less power saves {band(dollars, "kUSD", scale=1e3)} a year,
        {band(100 * saved, "%")} of the bill, and
        {band(SAVED * joules, "kW", scale=1e3)} of supply. Where supply is the limit,
        the
        same 30 % is {two(100 * SAVED / (1 - SAVED))} % more tokens to sell.""",
    )


def claim_stranded(run: Run, got: dict[str, np.ndarray], *, data: Case) -> None:
    """Payback against the yearly fall of prices."""
    life = float(data.design.technology.datacenter.lifetime) / YEAR
    margin = np.full_like(got["usd"], MARGIN)
    generator = np.random.default_rng(0)
    margin[1:] = generator.uniform(0.1, 1.0, len(margin) - 1)
    times = {fall: payback(margin, fall=fall, life=life) for fall in (0.1, 0.3, 0.5)}
    limit = 1 - np.exp(-(1 + margin) / life)
    run.numbers["payback"] = {str(k): float(v[0]) for k, v in times.items()}
    run.claim(
        24,
        "Falling inference cost strands capital.",
        parts=[
            part("capital is never paid back if prices fall by 10 % a year",
                 ~np.isfinite(times[0.1])),
            part("it is never paid back if they fall by half a year",
                 ~np.isfinite(times[0.5])),
        ],
        gist=f"""A chip bought to pay itself back over {two(life)} years at a margin of
        10 to 100 % over that is never paid back once prices fall faster than
        {band(100 * limit, "%")} a year. At 10 % a year it takes
        {band(np.where(np.isfinite(times[0.1]), times[0.1], np.nan), "years")}. Chips
        whose cost is mostly capital ({band(got["chip_share"], "%", scale=0.01)} of an
        H100's cost is the chip) keep running as long as a token pays its energy:
        stranded
        means unpaid, not idle.""",
    )  # fmt: skip
    with fig.figure(run, "payback") as axes:
        values = [payback(margin, fall=f, life=life) for f in GAINS]
        values = [np.where(np.isfinite(v), v, 20.0) for v in values]
        fig.line(
            axes, 100 * GAINS, y=values, label="margin 10 to 100 %", color=fig.BLUE
        )
        axes.axhline(life, color=fig.GREY, lw=1, ls="--")
        axes.annotate("life of the hardware", (60, life), va="bottom", fontsize=10)
        axes.set(
            xlabel="yearly fall of the price of a token [%]",
            ylabel="payback [years], 20: never",
            ylim=(0, 20.5),
        )
        axes.legend()


def draw(run: Run, equal: dict[str, dict[str, np.ndarray]]) -> None:
    """Tokens per second and megawatt, and dollars per token, paid and free."""
    names = list(equal)
    with fig.figure(run, "megawatt", columns=2, size=(8.2, 4.4)) as (left, right):
        fig.bars(left, names, values=[equal[n]["rate"] for n in names], scale=1e3)
        left.set(xlabel="1000 token/s per megawatt at the meter")
        fig.bars(
            right, names, values=[equal[n]["usd"] * 1e6 for n in names],
            colors=fig.SKY, show=False,
        )  # fmt: skip
        places = np.arange(len(names))[::-1]
        free = [np.median(equal[n]["free"][1:]) * 1e6 for n in names]
        right.plot(free, places, "D", color=fig.RED, label="chips for free")
        right.set_yticklabels([])
        right.set(xlabel="USD per million tokens")
        right.legend(fontsize=10)


def tables(
    run: Run,
    found: dict[str, Any],
    *,
    capped: Sequence[dict[str, np.ndarray]],
    limits: Sequence[float],
    data: dict[str, float],
    source: str,
) -> None:
    """Numbers by stack, power caps, measurements."""
    run.add("## Numbers")
    run.add("What the claims rest on, by software; the verdicts are the first row's:")
    rows = [
        [
            title,
            band(got["h200-sxm"]["rate"] / got["a100-sxm-80gb"]["rate"]),
            band(got["h200-sxm"]["usd"] / got["a100-sxm-80gb"]["free"]),
            band(SAVED * got["h100-sxm"]["energy_share"], "%", scale=0.01),
            band(got["h100-sxm"]["chip_share"], "%", scale=0.01),
        ]
        for title, got in found.items()
    ]
    head = ["software", "tokens per MW, H200 over A100"]
    head += ["paid H200 over free A100, dollars", "saved by 30 % less power"]
    run.add(*table([*head, "chip in an H100's cost"], rows))
    head = ["chip", "1000 token/s per MW", "J/token at the meter", "USD/Mtoken"]
    head += ["with free chips", "energy in cost [%]"]
    for title, chips in found.items():
        rows = [
            [
                chip,
                band(got["rate"], scale=1e3),
                band(got["joule"]),
                band(got["usd"], scale=1e-6),
                band(got["free"], scale=1e-6),
                band(got["energy_share"], scale=0.01),
            ]
            for chip, got in chips.items()
        ]
        run.add(f"{title[0].upper()}{title[1:]}:", *table(head, rows))
    rows = [
        [two(w), band(c["rate"], scale=1e3), band(c["usd"], scale=1e-6)]
        for w, c in zip(limits, capped, strict=True)
    ]
    run.add("H100 under a power cap:")
    run.add(*table(["cap [W]", "1000 token/s per MW", "USD/Mtoken"], rows))
    run.add("![Payback over the fall of prices](payback.svg)")
    rows = [[name, two(value)] for name, value in data.items()]
    base = case_of(run.study)
    h100 = found[next(reversed(SOFTWARE))]["h100-sxm"]
    run.add(
        "## Against what was known",
        f"""Energy was known as about a tenth of what an H100 costs; here it is
        {band(h100["energy_share"], "%", scale=0.01)}. The known figure is of large
        buyers, who pay about half the capital per chip that a list price with server,
        network and building makes here; the draws of the price reach theirs.""",
        "## Beside measurement",
        f"""J/token at the wall of MLPerf servers, Llama-2-70B at 8 or 4 bit with other
        lengths ({source}); the pages above are 16 bit:""",
        *table(["accelerator, scenario", "J/token"], rows),
        "## What matters most",
        *elasticity_table(
            [
                ("J/token", elasticity(base, of="energy_per_token_facility")),
                ("USD/token", elasticity(base, of="usd_per_token")),
            ]
        ),
        "## What would change the verdict",
        """- Claim 16: the price at which tokens sell. At cost, free old chips win; the
        scarcer supply is against demand, the more a megawatt of efficient chips
        earns.""",
        """- Claim 18: electricity at three times today's price, or chips at a
        third.""",
        """- Claim 24: contracts. The rule assumes that prices fall smoothly and that
        income starts at the margin over straight repayment, without interest; a drawn
        margin is the whole band.""",
    )


def run_experiment(arguments: Sequence[str] | None = None) -> Run:
    """Run with the given options."""
    return main(__file__, write, change="baseline.batch=32", arguments=arguments)


if __name__ == "__main__":
    run_experiment()
