"""What was measured of single kernels? Rows of products, attention, experts, links.

CSV files in the schema of the measured data -> ``KernelRow`` in SI units, and a
fault with its line for what cannot be read. The columns tell the kind of a file.
"""

import csv
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from codesign.config.rows import RowFault
from codesign.core.errors import InputError
from codesign.core.quantities import Bits, Seconds, Watts

MICROSECOND = 1e-6
FORMATS: dict[str, tuple[float, float]] = {
    "bfloat16": (16.0, 16.0),
    "fp8": (8.0, 8.0),
    "fp8_block": (8.0, 8.0),
    "nvfp4": (4.5, 4.0),
    "w4a16_mxfp4": (4.25, 16.0),
    "w4a8_mxfp4_mxfp8": (4.25, 8.0),
}
"""Bits of weights, scales included, and of activations by the name of a format."""
CHIPS = {"A100": "a100-sxm-80gb"}
"""Chips that kernel tables name otherwise than served runs: products on this A100
reach 1.78 TB/s, above the 1.555 TB/s of the part with 40 GB."""
NOT_GATED = "nongated"  # in the name of an expert kernel with two matrices
ELEMENTWISE = ("softmax", "layernorm", "gelu")


@dataclass(frozen=True)
class KernelRow:
    """One measured kernel; ``shape`` holds its sizes under the names of the file."""

    line: int
    kind: str
    chip: str
    software: str
    format: str
    weight_bits: Bits
    activation_bits: Bits
    kv_bits: Bits
    shape: Mapping[str, float]
    duration: Seconds
    power: Watts


@dataclass(frozen=True)
class KernelFile:
    """Rows of a file that could be read, and the lines that could not."""

    rows: tuple[KernelRow, ...]
    faults: tuple[RowFault, ...]


def read_kernels(path: str | Path) -> KernelFile:
    """Measured kernels of a CSV file.

    Files of products have ``gemm_dtype``, of attention ``phase``, of experts
    ``moe_dtype``, of collectives ``op`` and ``bytes``, of operators ``op`` and ``d1``.

    Raises:
        InputError: no such file, or its columns are of no known kind.
    """
    given = Path(path)
    if not given.is_file():
        raise InputError(f"{given}: no such file.")
    rows: list[KernelRow] = []
    faults: list[RowFault] = []
    with given.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file, restval="")
        read = _reader_of(set(reader.fieldnames or ()), path=given)
        for cells in reader:
            line = reader.line_num
            try:
                rows.append(read(line, {k: v or "" for k, v in cells.items()}))
            except InputError as error:
                faults.append(RowFault(line=line, message=str(error)))
    return KernelFile(rows=tuple(rows), faults=tuple(faults))


Reader = Callable[[int, Mapping[str, str]], KernelRow]


def _reader_of(columns: set[str], *, path: Path) -> Reader:
    kinds: dict[str, Reader] = {
        "gemm_dtype": _product,
        "phase": _attention,
        "moe_dtype": _experts,
        "bytes": _collective,
        "d1": _operator,
    }
    for column, read in kinds.items():
        if column in columns:
            return read
    known = ", ".join(kinds)
    raise InputError(f"{path}:1  no column tells the kind of kernel; known: {known}.")


def _product(line: int, cells: Mapping[str, str]) -> KernelRow:
    return _row(line, cells, kind="GEMM", dtype="gemm_dtype", sizes=("m", "n", "k"))


def _attention(line: int, cells: Mapping[str, str]) -> KernelRow:
    phases = {"context": "context attention", "generation": "decode attention"}
    if cells["phase"] not in phases:
        raise InputError(f"phase is {cells['phase']!r}; known: {', '.join(phases)}.")
    sizes = (
        "batch_size",
        "kv_len",
        "num_heads",
        "num_key_value_heads",
        "head_dim",
        "window_size",
    )
    kind = phases[cells["phase"]]
    return _row(line, cells, kind=kind, dtype="attn_dtype", sizes=sizes)


def _experts(line: int, cells: Mapping[str, str]) -> KernelRow:
    sizes = (
        "num_tokens",
        "hidden_size",
        "inter_size",
        "topk",
        "num_experts",
        "moe_tp_size",
        "moe_ep_size",
    )
    return _row(line, cells, kind="experts", dtype="moe_dtype", sizes=sizes)


def _collective(line: int, cells: Mapping[str, str]) -> KernelRow:
    kind = f"{cells['op'].replace('_', '-')}, {cells.get('kernel_source', '')}"
    return _row(line, cells, kind=kind, dtype="dtype", sizes=("num_gpus", "bytes"))


def _operator(line: int, cells: Mapping[str, str]) -> KernelRow:
    name = cells["op"].partition("_")[0]
    renamed = {**cells, "dtype": "bfloat16", "run": "PyTorch"}
    if name == "matmul":
        sides = {"m": cells["d1"], "k": cells["d2"], "n": cells["d3"]}
        sizes = ("m", "n", "k")
        return _row(line, renamed | sides, kind="GEMM", dtype="dtype", sizes=sizes)
    if name not in ELEMENTWISE:
        raise InputError(f"op is {cells['op']!r}; known: matmul, {ELEMENTWISE}.")
    elements = math.prod(float(cells[d]) for d in ("d1", "d2", "d3") if cells.get(d))
    given = renamed | {"elements": str(elements)}
    return _row(line, given, kind=name, dtype="dtype", sizes=("elements",))


def _row(
    line: int,
    cells: Mapping[str, str],
    *,
    kind: str,
    dtype: str,
    sizes: tuple[str, ...],
) -> KernelRow:
    name = cells.get(dtype, "")
    cache = cells.get("kv_cache_dtype") or "bfloat16"
    for each in (name, cache):
        if each not in FORMATS:
            raise InputError(f"format {each!r} is unknown; known: {', '.join(FORMATS)}")
    weight, activation = FORMATS[name]
    shape = {size: _number(cells, size) for size in sizes}
    if NOT_GATED in cells.get("kernel_source", ""):
        shape["matrices"] = 2.0
    return KernelRow(
        line=line,
        kind=kind,
        chip=CHIPS.get(cells["gpu"], cells["gpu"]),
        software=cells.get("run", ""),
        format=name if cache == "bfloat16" else f"{name}, {cache} cache",
        weight_bits=weight,
        activation_bits=activation,
        kv_bits=FORMATS[cache][0],
        shape=shape,
        duration=MICROSECOND * _number(cells, "latency_us"),
        power=float(cells["power_w"]) if cells.get("power_w") else math.nan,
    )


def _number(cells: Mapping[str, str], name: str) -> float:
    try:
        value = float(cells[name])
    except (KeyError, ValueError) as error:
        raise InputError(f"{name} is {cells.get(name)!r}, not a number") from error
    if value < 0 or not math.isfinite(value):
        raise InputError(f"{name} is {value:g}; expected a number from zero on")
    return value
