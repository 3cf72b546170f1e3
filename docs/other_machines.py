"""How far does the model reach beyond the chips and the boundary it was fitted to?

A chip from its data sheet alone, static batches of other vendors' chips, and wall
power of MLPerf servers -> tables of ``docs/scorecard.md``.
"""

import csv
import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import jax
import jax.numpy as jnp
import numpy as np

from codesign.calibrate.groups import Group, group_scores, metric_error
from codesign.calibrate.predict import Prediction, predict_rows
from codesign.calibrate.score import score
from codesign.calibrate.validate import HEADINGS
from codesign.config.catalogue import read_preset
from codesign.config.design import build_design
from codesign.config.rows import read_model_rows, read_rows
from codesign.config.yaml import yaml_text
from codesign.core.quantities import Seconds
from codesign.cost.evaluate import evaluate
from codesign.cost.record import Cost
from codesign.serving.design import Design

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"
MODELS = BENCHMARKS / "cross_vendor_models.csv"
CHIPS = {
    "Intel PVC": str(BENCHMARKS / "chips" / "max-1550.yaml"),
    "Intel Max 1550": str(BENCHMARKS / "chips" / "max-1550.yaml"),
}
"""Chips that are no preset."""
UNSEEN = "B200"
PRINTED = ("area", "price", "sram_bandwidth")
"""What a data sheet or a teardown says; idle and sustained figures are measured."""
MATURITIES = (1.0, 1.25)
UNSEEN_METRICS = ("inter_token_latency", "step_time", "power", "energy_per_token")
METRICS = ("step_time", "power_at_step", "energy_per_token")


@dataclass(frozen=True)
class Workload:
    """Model and prompt length behind an MLPerf name, and answers where not given.

    In the Server scenario 99 % of the first tokens come within ``first``, and 99 % of
    the answers take ``each`` per token.
    """

    model: str
    prompt_length: int
    output_length: float
    first: Seconds
    each: Seconds


WORKLOADS = {
    "llama2-70b": Workload("llama-2-70b", 300, 290.0, first=2.0, each=0.2),
    "mixtral-8x7b": Workload("mixtral-8x7b", 300, 146.0, first=2.0, each=0.2),
    "llama3.1-8b": Workload("llama-3-8b", 780, 128.0, first=2.0, each=0.1),
}
"""Prompt lengths are assumed: OpenOrca and mixed tasks 300, CNN/DailyMail 780 tokens,
whose answers of at most 128 tokens are taken whole. Limits of Server: MLPerf Inference
rules, mlcommons/inference_policies."""
LOADS = np.linspace(0.5, 1.0, 26)  # of the Offline rate, which Server is tried at
ACCELERATORS = {
    "H100-SXM": ("h100-sxm", 8.0),
    "H200-SXM": ("h200-sxm", 8.0),
    "B200-SXM": ("b200-sxm", 4.5),
}
"""Chip, and weight bits that the submitter's engine runs, by part of the name."""
BATCHES = (256, 512, 1024, 2048, 4096, 8192)
TENSOR = (1, 2, 4, 8)


def cross_vendor_rows(path: str | Path) -> tuple[list[list[str]], int]:
    """Median errors by chip and software, header first, and how many were left out."""
    rows = [
        replace(row, chip=CHIPS.get(row.chip, row.chip)) for row in read_rows(path).rows
    ]
    predicted = predict_rows(rows, read_model_rows(MODELS))
    groups: defaultdict[tuple[str, str], list[Prediction]] = defaultdict(list)
    names = {path: name for name, path in CHIPS.items()}
    for each in predicted.done:
        chip = names.get(each.row.chip, each.row.chip)
        groups[(chip, each.row.framework.strip())].append(each)
    header = ["chip", "software", "rows", "models", "time per token"]
    header += ["bias", "power at measured step", "J/token"]
    table = [
        [
            chip,
            software,
            str(len(members)),
            str(len({p.row.model for p in members})),
            *_cells(members),
        ]
        for (chip, software), members in sorted(groups.items())
    ]
    return [header, *table], len(predicted.faults)


def _cells(members: Sequence[Prediction]) -> Iterator[str]:
    for metric in METRICS:
        found = score([metric_error(p, metric) for p in members])
        yield f"{100 * found.mean:.0f} / {100 * found.median:.0f}" * bool(found.count)
        if metric == METRICS[0]:
            yield f"{100 * found.bias:+.0f}"


def wall_rows(path: str | Path) -> list[list[str]]:
    """Wall power and J/token of MLPerf servers, header first."""
    header = ["system", "workload", "scenario", "token/s measured", "error"]
    header += ["wall W measured", "error", "J/token measured", "error"]
    header += ["J/token at measured token/s, error"]
    with Path(path).open(encoding="utf-8", newline="") as file:
        cells = [row for row in csv.DictReader(file) if row["power_w"]]
    table = [_wall_cells(row) for row in cells]
    return [header, *(row for row in table if row)]


def _wall_cells(row: Mapping[str, str]) -> list[str]:
    name = next((n for n in WORKLOADS if row["model"].startswith(n)), "")
    part = next((n for n in ACCELERATORS if n in row["accelerator"]), "")
    if not name or not part:
        return []
    found = _fastest(row, WORKLOADS[name], part=part)
    measured = {
        "rate": float(row["tokens_per_s"]),
        "watts": float(row["power_w"]),
        "joules": float(row["system_j_per_token"]),
    }
    watts = float(row["total_accelerators"]) * float(found.power_server)
    joules = float(found.energy_per_token_server)
    slowed = _at_rate(found, row, rate=measured["rate"])
    pairs = (
        (float(found.throughput), measured["rate"]),
        (watts, measured["watts"]),
        (joules, measured["joules"]),
    )
    cells = [row["accelerator"], name, row["scenario"]]
    for predicted, value in pairs:
        cells += [f"{value:.4g}", f"{100 * (predicted / value - 1):+.0f} %"]
    return [*cells, f"{100 * (slowed / measured['joules'] - 1):+.0f} %"]


def server_rows(path: str | Path) -> list[list[str]]:
    """Throughput of Server over Offline, by chip and workload, header first."""
    with Path(path).open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    header = ["chip", "workload", "pairs", "measured", "predicted", "error"]
    table: list[list[str]] = []
    for part, (chip, bits) in ACCELERATORS.items():
        for name, work in WORKLOADS.items():
            mine = [
                row
                for row in rows
                if part in row["accelerator"] and row["model"].startswith(name)
            ]
            measured = _server_ratios(mine)
            if not measured:
                continue
            low, middle, high = np.quantile(measured, (0.25, 0.5, 0.75))
            predicted = _server_share(chip, work, bits=bits)
            error = abs(math.log(predicted / middle))
            table.append(
                [chip, name, str(len(measured)), f"{middle:.2f} ({low:.2f}–{high:.2f})"]
            )
            table[-1] += [f"{predicted:.2f}", f"{100 * error:.1f} %"]
    return [header, *table]


def _server_ratios(rows: Sequence[Mapping[str, str]]) -> list[float]:
    """Best Server over best Offline of each submitted system."""
    best: defaultdict[tuple[str, ...], dict[str, float]] = defaultdict(dict)
    for row in rows:
        key = (row["id"], row["model"], row["total_accelerators"])
        rate = float(row["tokens_per_s"] or 0.0)
        if rate:
            before = best[key].get(row["scenario"], 0.0)
            best[key][row["scenario"]] = max(rate, before)
    both = [x for x in best.values() if {"Server", "Offline"} <= x.keys()]
    return [x["Server"] / x["Offline"] for x in both]


def _server_share(chip: str, work: Workload, *, bits: float) -> float:
    """Highest open-loop load, as a share of the Offline rate, that keeps the limits.

    Assumes: means in place of the 99 % of MLPerf; the deployment that Offline takes.
    """
    tensor, cost = _best(chip, work, bits=bits, output=work.output_length)
    offline = float(cost.throughput)
    design = _design(
        chip, work, bits=bits, tensor=tensor, batch=1, output=work.output_length
    )
    kept = [0.0]
    for load in LOADS:
        rate = jnp.array(load * offline / work.output_length)
        found = _evaluated(design.replace(request=design.request.replace(rate=rate)))
        in_time = float(found.time_to_first_token) <= work.first
        if in_time and float(found.time_per_output_token) <= work.each:
            kept.append(float(load))
    return max(kept)


def _fastest(row: Mapping[str, str], work: Workload, *, part: str) -> Cost:
    """The deployment of highest throughput that fits: what Offline looks for."""
    chip, bits = ACCELERATORS[part]
    output = float(row["mean_output_tokens"] or work.output_length)
    return _best(chip, work, bits=bits, output=output)[1]


def _best(chip: str, work: Workload, *, bits: float, output: float) -> tuple[int, Cost]:
    """Tensor parallelism and cost of the deployment of highest throughput that fits."""
    costs = [
        (tensor, _evaluated(design))
        for tensor in TENSOR
        for batch in BATCHES
        for design in [
            _design(chip, work, bits=bits, tensor=tensor, batch=batch, output=output)
        ]
    ]
    fitting = [(t, c) for t, c in costs if float(c.utilization) <= 1]
    return max(fitting, key=lambda pair: float(pair[1].throughput))


def _design(
    chip: str, work: Workload, *, bits: float, tensor: int, batch: int, output: float
) -> Design:
    design = build_design(
        chip=chip,
        num_chips=8,
        model=work.model,
        tensor_parallel=tensor,
        batch=batch,
        prompt_length=work.prompt_length,
        output_length=output,
    )
    model = design.model.replace(
        weight_bits=jnp.array(math.floor(bits), float),
        scale_bits=jnp.array(bits - math.floor(bits)),
        activation_bits=jnp.array(math.floor(bits), float),
        kv_bits=jnp.array(8.0),
    )
    return design.replace(model=model)


def _evaluated(design: Design) -> Cost:
    return jax.device_get(evaluate(design))


def _at_rate(cost: Cost, row: Mapping[str, str], *, rate: float) -> float:
    """J/token at the wall if the same work took the measured time.

    Work above idle per token stays; idle power is spread over more or less time.
    """
    chips = float(row["total_accelerators"])
    bill = cost.breakdown.energy
    share = float(bill.static) / float(cost.energy_per_token)
    plug = float(cost.power_server) * chips
    host = plug - float(cost.power) * chips
    idle = float(cost.power) * chips * share + host
    return (plug - idle) / float(cost.throughput) + idle / rate


def unseen_chip_groups(
    rows: str | Path, models: str | Path
) -> dict[float, tuple[Group, ...]]:
    """Errors on B200 with nothing fitted to B200, by maturity of the software.

    The chip is its data sheet in the style of Hopper, the stack that of H100.
    """
    given = [r for r in read_rows(rows).rows if r.chip == UNSEEN and not r.flag]
    found: dict[float, tuple[Group, ...]] = {}
    for maturity in MATURITIES:
        with TemporaryDirectory() as folder:
            chip = _data_sheet(Path(folder), maturity=maturity)
            moved = [replace(row, chip=chip, framework="") for row in given]
            done = predict_rows(moved, read_model_rows(models)).done
        found[maturity] = group_scores(done)
    return found


def unseen_chip_rows(found: Mapping[float, Sequence[Group]]) -> list[list[str]]:
    """The same as cells, header first: MAPE / median / bias in percent."""
    table = [["maturity", "models", "rows", *(HEADINGS[m] for m in UNSEEN_METRICS)]]
    for maturity, groups in found.items():
        for group in groups:
            cells = [f"{maturity:g}", group.kind, str(group.rows)]
            for metric in UNSEEN_METRICS:
                errors = group.scores[metric]
                cells.append(
                    f"{100 * errors.mean:.1f} / {100 * errors.median:.1f} / "
                    f"{100 * errors.bias:+.0f}"
                )
            table.append(cells)
    return table


def _data_sheet(folder: Path, *, maturity: float) -> str:
    """B200 without what was measured on it, and the stack of H100, as files."""
    document = dict(read_preset("chips", UNSEEN).data)
    document["style"] = read_preset("chips", "H100").data["style"]
    published = document["published"]
    document["published"] = {key: published[key] for key in PRINTED}
    document["stack"] = "stack.yaml"
    stack = dict(read_preset("stacks", "vllm-0.11-h100").data)
    factor = {"value": maturity, "status": "assumed", "source": "prior"}
    stack["values"] = {**stack["values"], "maturity": factor}
    (folder / "stack.yaml").write_text(yaml_text(stack), encoding="utf-8")
    (folder / "chip.yaml").write_text(yaml_text(document), encoding="utf-8")
    return str(folder / "chip.yaml")
