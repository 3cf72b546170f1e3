"""What does a user's speed cost on GPU, TPU, LPU and wafer?

Study beside this file -> README.md, figures and numbers.json beside this file.

    python experiments/03_price_of_speed/run.py            # the page
    python experiments/03_price_of_speed/run.py --small    # fewer draws
"""

import csv
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from codesign.config.units import format_quantity
from codesign.core.paths import get_path, path_units
from codesign.model.parameters import count_parameters
from codesign.serving.design import Design
from experiments.common import figure as fig
from experiments.common.draws import (
    Case,
    build_case,
    case_of,
    elasticity,
    evaluate_cases,
)
from experiments.common.page import (
    Run,
    band,
    elasticity_table,
    interval,
    log,
    main,
    measured,
    table,
    two,
)
from experiments.common.verdict import part

COMMAND = "python experiments/03_price_of_speed/run.py"
EQUAL_STACK = "vllm-0.11-h100"
FORMATS = ("model.weight_bits", "model.activation_bits", "model.kv_bits")


@dataclass(frozen=True)
class Place:
    """How a system holds the model: chips, tensor and pipeline parallelism."""

    title: str
    chip: str
    chips: int
    tensor: int
    stages: int
    color: str


PLACES = (
    Place("8 × H100", "h100-sxm", 8, tensor=8, stages=1, color=fig.BLUE),
    Place("8 × B200", "b200-sxm", 8, tensor=8, stages=1, color=fig.SKY),
    Place("8 × TPU v4", "tpu-v4", 8, tensor=8, stages=1, color=fig.ORANGE),
    Place("576 × LPU v1", "groqchip1", 576, tensor=8, stages=72, color=fig.RED),
    Place("2 × WSE-3", "wse-3", 2, tensor=1, stages=2, color=fig.GREEN),
)
GPU, NEXT, TPU, LPU, WAFER = range(5)
SIZES = {
    "llama-3-8b": (1, 1),
    "qwen3-14b": (1, 1),
    "qwen3-32b": (2, 1),
    "llama-3-70b": (4, 1),
    "llama-3.1-405b": (20, 1),
}
"""Wafers that hold a model in 16 bit with room for its cache, by model."""
WAFER_SRAM = 44.0  # GB
LPU_MEASURED = "Groq LPU v1, 576, Llama-2-70B"
REACH = 0.9  # of the fastest measured speed, from the cheapest point


def numbers(design: Design) -> dict[str, Any]:
    """Arguments of ``build_design`` that all systems take from the study."""
    units = path_units(Design)
    return {
        "prompt_length": float(design.request.prompt_length),
        "output_length": float(design.request.output_length),
        "overrides": [
            f"{path}={format_quantity(float(get_path(design, path)), units[path])}"
            for path in FORMATS
        ],
    }


def on(run: Run, place: Place, *, stack: str | None, batch: float) -> Case:
    """The study's model and request on a system."""
    return build_case(
        place.title,
        chip=place.chip,
        stack=stack,
        num_chips=place.chips,
        tensor_parallel=place.tensor,
        pipeline_parallel=place.stages,
        model=str(run.study.resolved["baseline"]["model"]),
        batch=batch,
        **numbers(run.study.baseline),
    )


def sweep(run: Run, place: Place, *, stack: str | None) -> dict[str, np.ndarray]:
    """Speed, energy, dollars and power over batch; one row per batch that fits."""
    batches = run.values("deployment.batch")
    if run.small:
        batches = batches[::3]
    cases = [on(run, place, stack=stack, batch=b) for b in batches]
    costs = evaluate_cases(cases, draws=run.draws)
    kept = [i for i, c in enumerate(costs) if float(c.limits.memory[0]) <= 0]
    return {
        "batch": np.array([batches[i] for i in kept]),
        "speed": np.stack([1 / costs[i].time_per_output_token for i in kept]),
        "joule": np.stack([costs[i].energy_per_token_server for i in kept]),
        "chip_joule": np.stack([costs[i].energy_per_token for i in kept]),
        "usd": np.stack([costs[i].usd_per_token for i in kept]) * 1e6,
        "watt": np.stack([costs[i].power_server for i in kept]) * place.chips,
        "price": np.stack([costs[i].chip.price for i in kept]) * place.chips,
        "total": np.stack([costs[i].throughput for i in kept]),
    }


def slope(speed: np.ndarray, joule: np.ndarray) -> np.ndarray:
    """d ln J / d ln speed from the cheapest batch to a batch of 8, per draw."""
    x, y = np.log(speed), np.log(joule)
    return (y[0] - y[-1]) / (x[0] - x[-1])


def straightness(speed: np.ndarray, joule: np.ndarray) -> np.ndarray:
    """Residual of ln J over ln speed less that over speed; below 0: a power law."""
    found = []
    for lane in range(speed.shape[1]):
        y = np.log(joule[:, lane])
        rest = [
            np.polyfit(x, y, 1, full=True)[1]
            for x in (np.log(speed[:, lane]), speed[:, lane])
        ]
        found.append([float(r[0]) if len(r) else 0.0 for r in rest])
    power, exponential = np.array(found).T
    return power - exponential


def measured_slopes(folder: Path) -> dict[str, Any]:
    """Slopes and rises of measured runs with at least four batches from 8 up."""
    groups: defaultdict[tuple[str, ...], list[tuple[float, float]]] = defaultdict(list)
    with (folder / "serving.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            if row["source"] != "mlenergy-v3" or row["quality_flag"]:
                continue
            names = ("gpu", "arch", "task", "num_gpus", "weight_bits")
            key = tuple(row[name] for name in names)
            point = 1e3 / float(row["itl_ms"]), float(row["j_per_token"])
            groups[key].append(point)
    found: defaultdict[str, list[list[float]]] = defaultdict(list)
    shown: dict[str, Any] = {}
    for key, points in groups.items():
        ordered = sorted(points)
        speed, joule = (np.array(side) for side in zip(*ordered, strict=True))
        if len(ordered) < 4:
            continue
        fit = np.polyfit(np.log(speed), np.log(joule), 1)[0]
        lane = np.stack([speed])[0][:, None], joule[:, None]
        better = float(straightness(*lane)[0] < 0)
        found[key[0]].append([fit, joule.max() / joule.min(), better])
        if "70B" in key[1]:
            shown[f"{key[3]} × {key[0]}"] = {
                "speed": speed.tolist(),
                "joule": joule.tolist(),
            }
    summary = {
        gpu: {
            "runs": len(rows),
            "slope": float(np.median([r[0] for r in rows])),
            "slope_low": float(np.quantile([r[0] for r in rows], 0.05)),
            "slope_high": float(np.quantile([r[0] for r in rows], 0.95)),
            "rise": float(np.median([r[1] for r in rows])),
            "power_law": float(np.mean([r[2] for r in rows])),
        }
        for gpu, rows in found.items()
    }
    speeds = {}
    with (folder / "accelerators_measured.csv").open(encoding="utf-8") as file:
        for row in csv.DictReader(file):
            if row["metric"] == "output_tok_s_per_user":
                name = f"{row['accelerator']}, {row['num_accelerators']}, "
                speeds.setdefault(name + row["model"], float(row["value"]))
    return {"slopes": summary, "curves": shown, "speeds": speeds}


def draw_speed(
    run: Run, found: Sequence[dict[str, np.ndarray]], *, curves: dict[str, Any]
) -> None:
    """Energy and dollars per token over the speed of one user."""
    with fig.figure(run, "speed", columns=2, size=(8.2, 4.4)) as (left, right):
        for place, got in zip(PLACES, found, strict=True):
            speed = np.array([interval(row)[0] for row in got["speed"]])
            for axes, key in ((left, "joule"), (right, "usd")):
                fig.line(
                    axes, speed, y=list(got[key]), label=place.title, color=place.color
                )
        for marker, (name, curve) in zip("o^s", curves.items(), strict=False):
            left.plot(
                curve["speed"],
                curve["joule"],
                marker,
                color=fig.BLACK,
                mfc="none",
                ms=5,
                label=f"measured, {name}, 16 bit, chips only",
            )
        for axes, title in (
            (left, "energy per token, server [J]"),
            (right, "dollars per million tokens"),
        ):
            fig.log_axes(axes)
            axes.set(xlabel="speed of one user [token/s]", ylabel=title)
        fig.legend_above(left, columns=3)


def size_cases(run: Run, *, stack: str | None) -> tuple[list[Case], list[Case]]:
    """One user on wafers and on eight B200, for models of growing size, 16 bit."""
    lengths = {
        name: value
        for name, value in numbers(run.study.baseline).items()
        if name != "overrides"
    }
    wafers = [
        build_case(
            model,
            chip="wse-3",
            stack=stack,
            num_chips=count,
            tensor_parallel=1,
            pipeline_parallel=count,
            model=model,
            batch=1,
            **lengths,
        )
        for model, (count, _) in SIZES.items()
    ]
    cluster = [
        build_case(
            model,
            chip="b200-sxm",
            stack=stack,
            num_chips=8,
            tensor_parallel=8,
            model=model,
            batch=1,
            **lengths,
        )
        for model in SIZES
    ]
    return wafers, cluster


def gigabytes(case: Case) -> float:
    """Weights of a dense model in 16 bit."""
    return 2e-9 * float(count_parameters(case.design.model).total)


def draw_sizes(run: Run, sizes: Sequence[float], *, lines: dict[str, Any]) -> None:
    """Time per token of one user over the size of the model."""
    styles = {
        "WSE-3, own stack": (fig.GREEN, "-"),
        "8 × B200, own stack": (fig.BLUE, "-"),
        "WSE-3, ideal": (fig.GREEN, "--"),
        "8 × B200, ideal": (fig.BLUE, "--"),
    }
    with fig.figure(run, "size") as axes:
        for name, costs in lines.items():
            color, style = styles[name]
            times = [c.time_per_output_token for c in costs]
            fig.line(
                axes, sizes, y=times, label=name, color=color, style=style, scale=1e-3
            )
        axes.axvline(WAFER_SRAM, color=fig.GREY, lw=1.2)
        axes.annotate(
            "SRAM of one wafer", (WAFER_SRAM, axes.get_ylim()[0]), fontsize=10,
            xytext=(4, 4), textcoords="offset points",
        )  # fmt: skip
        fig.log_axes(axes)
        axes.set(
            xlabel="weights in 16 bit [GB]", ylabel="time per token of one user [ms]"
        )
        axes.legend(fontsize=10)


def write(run: Run) -> None:
    """All numbers, figures and the page."""
    log.info("systems over batch")
    own = [sweep(run, place, stack=None) for place in PLACES]
    ideal = [sweep(run, place, stack="ideal") for place in PLACES]
    equal = [sweep(run, place, stack=EQUAL_STACK) for place in PLACES]
    data, source = measured(run, "measured_speed", summarise=measured_slopes)
    draw_speed(run, own, curves=data["curves"])
    log.info("sizes")
    lines: dict[str, Any] = {}
    sizes: list[float] = []
    for stack, title in ((None, "own stack"), ("ideal", "ideal")):
        wafers, cluster = size_cases(run, stack=stack)
        lines[f"WSE-3, {title}"] = evaluate_cases(wafers, draws=run.draws)
        lines[f"8 × B200, {title}"] = evaluate_cases(cluster, draws=run.draws)
        sizes = [gigabytes(case) for case in cluster]
    draw_sizes(run, sizes, lines=lines)
    run.add("# 03 What does the speed of one user cost?")
    claim_three(run, own, data=data)
    claim_five(run, own, ideal=ideal, data=data)
    claim_six(run, sizes, lines=lines, data=data)
    run.add("![Energy and dollars per token over the speed of a user](speed.svg)")
    run.add("## Numbers")
    for title, found in (
        ("Each system with its own software.", own),
        ("All with perfect software.", ideal),
        ("All with the overheads of vLLM 0.11 on H100.", equal),
    ):
        run.add(title, *system_table(found))
    run.add("![Time per token over the size of the model](size.svg)")
    beside(run, data, source=source)
    case = case_of(run.study)
    lpu = on(run, PLACES[LPU], stack=None, batch=8.0)
    wafer = on(run, PLACES[WAFER], stack=None, batch=8.0)
    run.add(
        "## What matters most",
        *elasticity_table(
            [
                ("J/token, H100", elasticity(case, of="energy_per_token_server")),
                ("speed, LPU", elasticity(lpu, of="time_per_output_token")),
                ("dollars, LPU", elasticity(lpu, of="usd_per_token")),
                ("speed, WSE-3", elasticity(wafer, of="time_per_output_token")),
            ]
        ),
        "## What would change the verdict",
        """- Claim 3: a memory that keeps its bandwidth when few sequences share it
        would
        flatten the curve: weights are read once per step whoever asks.""",
        """- Claim 5: latency per layer. The LPU's stack takes tens of microseconds per
        layer, fitted to one published speed; its links and SRAM alone would allow ten
        times more. A price per chip below a quarter of the list price would bring
        dollars level.""",
        """- Claim 6: software again. With perfect software the wafer is ahead by an
        order of magnitude; what is sold today is not limited by SRAM bandwidth.""",
    )


def claim_three(
    run: Run, own: Sequence[dict[str, np.ndarray]], *, data: dict[str, Any]
) -> None:
    """Cost of speed on GPUs."""
    got = own[GPU]
    start = int(np.argmin(np.abs(got["batch"] - 8)))
    part_of = {k: got[k][start:] for k in ("speed", "joule", "usd", "watt")}
    steep = slope(part_of["speed"], part_of["joule"])
    dear = slope(part_of["speed"], part_of["usd"])
    rise = part_of["joule"][0] / part_of["joule"].min(axis=0)
    bent = straightness(part_of["speed"], part_of["joule"])
    seen = data["slopes"].get("H100", {})
    run.numbers["slope"] = interval(steep)
    run.claim(
        3,
        "GPUs are economical at slow speed; cost and power per token rise "
        "exponentially with speed.",
        parts=[
            part("J/token at 8 sequences is over three times the least", rise > 3),
            part("the rise is closer to an exponential than to a power law", bent > 0),
        ],
        gist=f"""From its cheapest batch to 8 sequences the H100 server pays
        {band(rise)} times the joules: J/token grows as speed to the power
        {band(steep)}, dollars as {band(dear)}. Measured runs on H100 give
        {two(seen["slope"])} ({two(seen["slope_low"])} to {two(seen["slope_high"])}) and
        a rise of {two(seen["rise"])}; a power law fits better than an exponential in
        {two(100 * seen["power_law"])} % of them.""",
    )


def claim_five(
    run: Run,
    own: Sequence[dict[str, np.ndarray]],
    *,
    ideal: Sequence[dict[str, np.ndarray]],
    data: dict[str, Any],
) -> None:
    """The LPU against GPUs: per user, per watt, per dollar."""
    lpu, gpu = own[LPU], own[GPU]
    user = lpu["speed"][0] / gpu["speed"][0]
    joules = lpu["joule"].min(axis=0) / gpu["joule"].min(axis=0)
    dollars = lpu["usd"].min(axis=0) / gpu["usd"].min(axis=0)
    most = gpu["speed"].max(axis=0)
    seen = data["speeds"][LPU_MEASURED]
    perfect = ideal[LPU]["speed"][0] / ideal[GPU]["speed"][0]
    run.claim(
        5,
        "Groq: 500 tokens/s on Llama-2-70B from SRAM weights, 5x an equally priced "
        "GPU.",
        parts=[
            part("the 576-chip system gives one user 500 token/s", lpu["speed"][0] >
            500),
            part("one user is five times as fast as on eight H100", user > 5),
            part("a dollar buys as many tokens as on H100, each at its cheapest batch",
                 dollars < 1),
            part("a joule buys as many tokens as on H100", joules < 1),
        ],
        gist=f"""The system of 576 LPUs gives one user
        {band(lpu["speed"][0], "token/s")} (published: {two(seen)}),
        {band(user)} times the {band(most, "token/s")} of eight H100, which are priced
        {band(lpu["price"][0] / gpu["price"][0])} times lower. At the cheapest batch
        that
        fits, a token takes {band(joules)} times the joules and {band(dollars)} times
        the
        dollars of the H100's. With perfect software on both, one user is
        {band(perfect)} times as fast.""",
    )  # fmt: skip


def claim_six(
    run: Run, sizes: Sequence[float], *, lines: dict[str, Any], data: dict[str, Any]
) -> None:
    """Wafers against the best GPU server, over the size of the model."""
    own = [
        b.time_per_output_token / w.time_per_output_token
        for w, b in zip(
            lines["WSE-3, own stack"], lines["8 × B200, own stack"], strict=True
        )
    ]
    perfect = [
        b.time_per_output_token / w.time_per_output_token
        for w, b in zip(lines["WSE-3, ideal"], lines["8 × B200, ideal"], strict=True)
    ]
    cross = [
        b.time_per_output_token / w.time_per_output_token
        for w, b in zip(
            lines["WSE-3, own stack"], lines["8 × B200, ideal"], strict=True
        )
    ]
    inside = [i for i, size in enumerate(sizes) if size <= WAFER_SRAM]
    speeds = data["speeds"]
    run.claim(
        6,
        "Cerebras: no inter-chip overhead; for models that fit, latency below any GPU "
        "cluster.",
        parts=[
            part(
                "a model inside one wafer is faster than on eight B200 with today's "
                "software",
                np.min([own[i] for i in inside], axis=0) > 1,
            ),
            part(
                "it is faster with perfect software on both",
                np.min([perfect[i] for i in inside], axis=0) > 1,
            ),
            part(
                "today's wafer beats even eight B200 with perfect software",
                np.min([cross[i] for i in inside], axis=0) > 1,
            ),
        ],
        gist=f"""At {two(sizes[0])} GB one wafer is {band(own[0])} times as fast for one
        user as eight B200, at {two(sizes[3])} GB four wafers are {band(own[3])} times;
        with perfect software {band(perfect[0])} and {band(perfect[3])} times.
        Published:
        {two(speeds["Cerebras CS-3, 1, Llama-3.1-8B"])} token/s for 8B on one wafer,
        {two(speeds["Cerebras CS-3, 4, Llama-3.1-70B"])} for 70B on four; the model says
        {band(1 / lines["WSE-3, own stack"][0].time_per_output_token)} and
        {band(1 / lines["WSE-3, own stack"][3].time_per_output_token)}.""",
    )


def system_table(found: Sequence[dict[str, np.ndarray]]) -> list[str]:
    """One user, and the cheapest batch that fits, per system."""
    rows = []
    for place, got in zip(PLACES, found, strict=True):
        best = int(np.argmin([interval(row)[0] for row in got["usd"]]))
        rows.append(
            [
                place.title,
                band(got["speed"][0]),
                band(got["joule"][0]),
                band(got["usd"][0]),
                f"{got['batch'][best]:g}",
                band(got["speed"][best]),
                band(got["joule"][best]),
                band(got["usd"][best]),
                band(got["watt"][best], scale=1e3),
            ]
        )
    head = ["system", "one user [token/s]", "J/token", "USD/Mtoken", "cheapest batch"]
    head += ["each user [token/s]", "J/token", "USD/Mtoken", "power [kW]"]
    return table(head, rows)


def beside(
    run: Run,
    data: dict[str, Any],
    *,
    source: str,
) -> None:
    """Published speeds and measured slopes next to those of the model."""
    rows = [
        [
            gpu,
            str(entry["runs"]),
            f"{two(entry['slope'])} ({two(entry['slope_low'])}–"
            f"{two(entry['slope_high'])})",
            two(entry["rise"]),
            two(100 * entry["power_law"]),
        ]
        for gpu, entry in sorted(data["slopes"].items())
    ]
    speeds = [[name, two(value)] for name, value in sorted(data["speeds"].items())]
    run.add(
        "## Against what was known",
        """Before, the rise was read as a power law with an exponent near 1.15, *steep,
        not exponential*. The exponent here is the slope between two batches; along the
        curve it grows from zero at large batches without end towards the speed that
        bandwidth and overheads allow, so a straight line in the logarithm of speed
        misses the ends, in the model and in most measured runs. Neither is a law:
        J/token is a + b / sequences, and speed ends at a wall.""",
        "## Beside measurement",
        f"""Measured runs of every model and task with at least four batches
        ({source}): exponent of J/token in speed, largest over least J/token, and the
        share of runs in which a power law fits better than an exponential.""",
        *table(["GPU", "groups", "exponent", "rise", "power law [%]"], rows),
        "Published speeds of one user, not fitted here:",
        *table(["system, chips, model", "token/s"], speeds),
    )


def run_experiment(arguments: Sequence[str] | None = None) -> Run:
    """Run with the given options."""
    change = "request.prompt_length=4096"
    return main(__file__, write, change=change, arguments=arguments)


if __name__ == "__main__":
    run_experiment()
