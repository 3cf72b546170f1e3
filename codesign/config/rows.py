"""What was measured? Rows of serving runs and of the models that they served.

CSV files in the schema of the measured data -> ``MeasuredRow`` in SI units,
rows of a table of models, and a fault with its line for what cannot be read.
"""

import contextlib
import csv
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from codesign.config.tasks import Prompts, published_prompts
from codesign.core.errors import InputError
from codesign.core.quantities import (
    Bits,
    Count,
    Factor,
    Fraction,
    JoulesPerToken,
    Seconds,
    Tokens,
    Watts,
)

ROW_COLUMNS = ("arch", "gpu", "num_gpus", "batch", "input_len", "output_len")
OTHER_NAMES = {
    "isl": "input_len",
    "osl": "output_len",
    "tp": "attn_tp",
    "concurrency": "batch",
    "tpot_ms": "itl_ms",
    "ttft_ms": "first_token_ms",
    "accelerator": "gpu",
    "num": "num_gpus",
    "model": "arch",
}
"""Columns of tables of latency at fixed lengths, which hold a mean TPOT, and of
static batches, which hold the latency of the whole batch."""
STATIC = "latency_s"  # the column that tells a table of static batches
PRECISIONS = {
    "bf16": ("16", "bf16"),
    "fp16": ("16", "fp16"),
    "fp16/bf16": ("16", "fp16"),
    "fp8": ("8", "fp8"),
    "fp4": ("4.5", "fp4"),
}
"""Weight bits, scales of blocks of 16 included, and activations by name."""
BLOCK_SCALED = ("deepseek-ai/", "MiniMaxAI/", "Qwen/")
"""Publishers whose fp8 checkpoints have a scale per block of 128 x 128 weights
(``weight_block_size`` in their config.json); others scale per tensor or channel."""
BLOCK_NAME = "fp8_block"  # in the columns gemm_quant and moe_quant
FIXED_LENGTHS = "tpot_ms"  # the column that tells a table of fixed lengths
LENGTH_SHARE = 0.9
"""Mean length over the nominal one in runs of InferenceX, whose client draws lengths
between 0.8 and 1 of it (random-range-ratio, README of SemiAnalysisAI/InferenceX)."""
BURST_SHARE = 0.1
"""Share of the requests that come at once when such a run begins: its client sends
ten times as many as run together, as soon as one ends (num-prompts CONC * 10, request
rate infinite, README of SemiAnalysisAI/InferenceX)."""
MILLISECOND = 1e-3
STATIONARY_SHARE = 0.5  # of the size-biased output length: the mean age of a sequence


@dataclass(frozen=True)
class RowFault:
    """Why one line of a file is not predicted."""

    line: int
    message: str


@dataclass(frozen=True)
class MeasuredRow:
    """One measured serving run; NaN where the source does not say.

    ``batch`` and ``prefills_per_step`` count all replicas together; ``age`` is
    the mean number of tokens that a running sequence has generated so far;
    ``power`` is per chip. ``median_latency`` tells whether the inter-token
    latency is a median over tokens or a mean with prefill included;
    ``framework`` is the name and version of the serving software. ``block_scaled``
    tells 8-bit weights with a scale per block from those with one per tensor or
    channel, ``fixed_lengths`` a benchmark that stops at given lengths and takes the
    likeliest token. ``time_to_first_token`` is a mean over all requests, of which
    ``burst_share`` came together when the run began. ``shared_length`` tokens of a
    prompt begin the one before it too; ``distinct_prompts`` were sent in turn until all
    had come, and then again. ``published_prompts`` tells that these are the task's,
    where the table only infers them.
    """

    line: int
    source: str
    model: str
    task: str
    chip: str
    flag: str
    framework: str
    num_chips: Count
    tensor_parallel: Count
    data_parallel: Count
    expert_parallel: Count
    expert_tensor_parallel: Count
    pipeline_parallel: Count
    weight_bits: Bits
    activation_bits: Bits
    kv_bits: Bits
    batch: Count
    prompt_length: Tokens
    output_length: Tokens
    output_variation: Factor
    age: Tokens
    prefills_per_step: Count
    unique_fraction: Fraction
    median_latency: bool
    inter_token_latency: Seconds
    step_time: Seconds
    power: Watts
    energy_per_token: JoulesPerToken
    time_to_first_token: Seconds = math.nan
    burst_share: Fraction = 0.0
    block_scaled: bool = False
    fixed_lengths: bool = False
    shared_length: Tokens = 0.0
    distinct_prompts: Count = math.inf
    published_prompts: bool = False


@dataclass(frozen=True)
class RowFile:
    """Rows of a file that could be read, and the lines that could not."""

    rows: tuple[MeasuredRow, ...]
    faults: tuple[RowFault, ...]


def read_rows(path: str | Path) -> RowFile:
    """Measured serving runs of a CSV file.

    Columns are those of ``serving.csv`` of the measured data; needed are
    ``arch``, ``gpu``, ``num_gpus``, ``batch``, ``input_len`` and ``output_len``.
    Tables of latency at fixed lengths name them ``isl``, ``osl``, ``concurrency``,
    ``tp``, ``tpot_ms`` and ``ttft_ms``, with ``precision`` for the widths; tables of
    static batches ``accelerator``, ``num``, ``model`` and ``latency_s``. Left out or
    empty, the load is that of steady state: age = half the size-biased output
    length, batch / output length prompts per step, none of them repeated or begun like
    others (``shared_len``); parallelism is tensor parallelism over all chips. ``gpu``
    may be a chip's YAML file, by its path from the folder of the rows. Prompts of a
    public task whose length the table infers are the published ones (``tasks.py``).

    Raises:
        InputError: no such file, or columns are missing in all of it.
    """
    rows: list[MeasuredRow] = []
    faults: list[RowFault] = []
    for line, cells in _read_csv(path, needed=ROW_COLUMNS):
        named = _common_names(cells)
        if named["gpu"].endswith(".yaml"):
            named["gpu"] = str(Path(path).parent / named["gpu"])
        try:
            rows.append(_measured_row(line, named))
        except InputError as error:
            faults.append(RowFault(line=line, message=str(error)))
    return RowFile(rows=tuple(rows), faults=tuple(faults))


def read_model_rows(path: str | Path) -> dict[str, dict[str, str]]:
    """Rows of a table of models by their name, the column ``arch``.

    Raises:
        InputError: no such file, no such column, or a name stands in two rows.
    """
    models: dict[str, dict[str, str]] = {}
    for line, cells in _read_csv(path, needed=("arch",)):
        name = cells["arch"]
        if name in models:
            raise InputError(f"{path}:{line}  arch: {name!r} stands in two rows.")
        models[name] = cells
    return models


def write_rows(path: str | Path, rows: Sequence[Mapping[str, object]]) -> None:
    """Write rows of equal keys to a CSV file with a header."""
    with Path(path).open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]) if rows else [])
        writer.writeheader()
        writer.writerows(rows)


def _read_csv(
    path: str | Path, *, needed: Sequence[str]
) -> Iterator[tuple[int, dict[str, str]]]:
    given = Path(path)
    if not given.is_file():
        raise InputError(f"{given}: no such file.")
    with given.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file, restval="")
        columns = {OTHER_NAMES.get(name, name) for name in reader.fieldnames or ()}
        missing = [name for name in needed if name not in columns]
        if missing:
            raise InputError(
                f"{given}:1  columns are missing: {', '.join(missing)}. The first "
                "line must name the columns; see docs/theory/validation.md."
            )
        for cells in reader:
            texts = {k: v.strip() for k, v in cells.items() if isinstance(v, str)}
            yield reader.line_num, texts


def _common_names(cells: Mapping[str, str]) -> dict[str, str]:
    """Cells under the names of serving runs, for either kind of table."""
    named = {OTHER_NAMES.get(name, name): text for name, text in cells.items()}
    if cells.get("precision") in PRECISIONS and "weight_bits" not in cells:
        named["weight_bits"], named["act_precision"] = PRECISIONS[cells["precision"]]
    if FIXED_LENGTHS in cells:
        named.setdefault("itl_kind", "mean_tpot")
        named |= _recipe(named)
    return named | _static_batch(named) if STATIC in cells else named


def _recipe(cells: Mapping[str, str]) -> dict[str, str]:
    """What a run at fixed lengths was given and its table does not say.

    Runs of InferenceX keep keys and values in 8 bit where weights have 8 bit or less,
    draw lengths below the nominal ones, and begin with as many requests at once as run
    together. How the client of other runs of such a table begins is not known, so that
    their first tokens count as not measured.

    Source: benchmarks/*.sh of SemiAnalysisAI/InferenceX: kv-cache-dtype fp8 in the
    recipes of vLLM, SGLang and TensorRT-LLM for fp8 and fp4 checkpoints.
    """
    found = {"fixed_lengths": "1"}
    if cells.get("is_inferencex") == "0":
        found["first_token_ms"] = ""
    if cells.get("is_inferencex") != "1":
        return found
    found["burst_share"] = str(BURST_SHARE)
    if cells.get("precision") in ("fp8", "fp4") and not cells.get("kv_bits"):
        found["kv_bits"] = "8"
    for name in ("input_len", "output_len"):
        with contextlib.suppress(KeyError, ValueError):
            found[name] = str(LENGTH_SHARE * float(cells[name]))
    return found


def _static_batch(cells: Mapping[str, str]) -> dict[str, str]:
    """Times and energy of a batch that starts and ends as one.

    step = latency / L, prefill included;  E/token = P latency / (B L)
    """
    try:
        latency, output, batch = (
            float(cells[name]) for name in (STATIC, "output_len", "batch")
        )
    except (KeyError, ValueError):
        return {}
    step = str(latency / output / MILLISECOND)
    found = {"itl_ms": step, "step_ms_effective": step, "itl_kind": "mean_tpot"}
    if cells.get("power_w"):
        joules = float(cells["power_w"]) * latency / (batch * output)
        found["j_per_token"] = str(joules)
    return found


class _Cells:
    """Numbers of one line by column; every problem is noted."""

    def __init__(self, cells: Mapping[str, str]) -> None:
        self.cells = cells
        self.problems: list[str] = []

    def text(self, name: str) -> str:
        return self.cells.get(name, "")

    def number(self, name: str, default: float = math.nan) -> float:
        text = self.text(name)
        if not text:
            return default
        try:
            value = float(text)
        except ValueError:
            self.problems.append(f"{name} is {text!r}, not a number")
            return math.nan
        if value < 0:
            self.problems.append(f"{name} is {text}, below zero")
        return value

    def positive(self, name: str, default: float = math.nan) -> float:
        value = self.number(name, default)
        if not value > 0 and not any(p.startswith(name) for p in self.problems):
            shown = self.text(name) or "missing"
            self.problems.append(f"{name} is {shown}, it must be above zero")
        return value

    def bits(self, name: str, default: float) -> float:
        """Width of a format from its name: bf16 16, fp8 8, mxfp4 4."""
        text = self.text(name)
        found = re.search(r"\d+(\.\d+)?$", text)
        if text and not found:
            self.problems.append(f"{name} is {text!r}, a name must end in its bits")
        return float(found.group()) if found else default


def _block_scaled(read: _Cells) -> bool:
    if BLOCK_NAME in (read.text("gemm_quant"), read.text("moe_quant")):
        return True
    return any(read.text(name).startswith(BLOCK_SCALED) for name in ("model", "arch"))


def _prompts(read: _Cells) -> tuple[Prompts, bool]:
    """The prompts of a row, and whether they are the published ones of its task."""
    length = read.positive("input_len")
    given = Prompts(length=length, shared=read.number("shared_len", 0.0))
    if given.shared >= given.length:
        read.problems.append(
            f"shared_len is {given.shared:g}, not below input_len {given.length:g}"
        )
    names = {"source": "source", "task": "task", "kind": "input_len_kind"}
    known = published_prompts(**{key: read.text(name) for key, name in names.items()})
    return (given, False) if known is None else (known, True)


def _measured_row(line: int, cells: Mapping[str, str]) -> MeasuredRow:
    read = _Cells(cells)
    chips = read.positive("num_gpus")
    stages = read.positive("pp", 1.0)
    replicas = read.positive("attn_dp", 1.0)
    tensor = read.positive("attn_tp", chips / (stages * replicas))
    batch = read.positive("batch")
    output = read.positive("output_len")
    biased = read.number("output_len_size_biased", output)
    prompts, published = _prompts(read)
    row = MeasuredRow(
        line=line,
        source=read.text("source"),
        model=read.text("arch"),
        task=read.text("task"),
        chip=read.text("gpu"),
        flag=read.text("quality_flag"),
        framework=" ".join([read.text("framework"), read.text("framework_version")]),
        num_chips=chips,
        tensor_parallel=tensor,
        data_parallel=replicas,
        expert_parallel=read.positive("moe_ep", 1.0),
        expert_tensor_parallel=read.positive("moe_tp", 1.0),
        pipeline_parallel=stages,
        weight_bits=read.positive("weight_bits", 16.0),
        activation_bits=read.bits("act_precision", 16.0),
        kv_bits=read.positive("kv_bits", 16.0),
        batch=batch,
        prompt_length=prompts.length,
        output_length=output,
        output_variation=math.sqrt(max(biased / output - 1.0, 0.0)) if output else 0.0,
        age=read.number("mean_age_tokens", STATIONARY_SHARE * biased),
        prefills_per_step=read.number(
            "prefills_per_step", batch / output if output else math.nan
        ),
        unique_fraction=read.number("unique_share", 1.0),
        median_latency=read.text("itl_kind") != "mean_tpot",
        inter_token_latency=MILLISECOND * read.number("itl_ms"),
        step_time=MILLISECOND * read.number("step_ms_effective"),
        power=read.number("power_per_gpu_w", read.number("power_w") / chips),
        energy_per_token=read.number("j_per_token"),
        time_to_first_token=MILLISECOND * read.number("first_token_ms"),
        burst_share=read.number("burst_share", 0.0),
        block_scaled=_block_scaled(read),
        fixed_lengths=bool(read.text("fixed_lengths")),
        shared_length=prompts.shared,
        distinct_prompts=read.positive("num_requests", math.inf),
        published_prompts=published,
    )
    for name, share in (
        ("unique_share", row.unique_fraction),
        ("burst_share", row.burst_share),
    ):
        if share > 1:
            read.problems.append(f"{name} is {share:g}, above one")
    if not read.problems and chips != tensor * replicas * stages:
        read.problems.append(
            f"num_gpus {chips:g} is not attn_tp {tensor:g} x attn_dp {replicas:g} x "
            f"pp {stages:g}"
        )
    if read.problems:
        raise InputError(f"{'; '.join(read.problems)}.")
    return row
