"""Which model does a name, a file or a table row mean?

Preset name or alias, YAML file, Hugging Face ``config.json`` (or the folder
that holds one), or a row of a table of models -> Transformer.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from codesign.config.catalogue import read_preset
from codesign.config.records import ValueInfo, read_values
from codesign.config.yaml import Document, Problems, problems_of
from codesign.core.errors import InputError
from codesign.core.quantities import Tokens
from codesign.core.record import as_float64
from codesign.model.huggingface import build_transformer, from_huggingface
from codesign.model.transformer import Transformer

DOCUMENT_KEYS = ("name", "title", "aliases", "source", "note", "parameters")

_FORMATS = {
    "weight_bits",
    "activation_bits",
    "kv_bits",
    "head_bits",
    "min_attention_bits",
    "scale_bits",
    "training_tokens",
    "num_ffn_layers",
    "chunked_attention",
    "weight_density",
    "index_bits",
    "activation_density",
    "gated_attention",
}
_EXPERTS = {"num_active_experts", "expert_size", "shared_size", "num_dense_layers"}
_WINDOWS = {"num_window_layers", "window_size"}
_POSITIVE = {
    "hidden_size",
    "num_layers",
    "num_heads",
    "num_kv_heads",
    "head_size",
    "vocab_size",
    "num_experts",
    "weight_bits",
    "activation_bits",
    "kv_bits",
    "head_bits",
    "weight_density",
    "activation_density",
}
_SHARES = ("weight_density", "activation_density")
_ORDERED = (
    ("num_kv_heads", "num_heads"),
    ("num_ffn_layers", "num_layers"),
    ("num_dense_layers", "num_layers"),
    ("num_window_layers", "num_layers"),
    ("recurrent.num_layers", "num_layers"),
    ("num_active_experts", "num_experts"),
)

CHUNKED = ("llama-4", "llama4")
"""Families whose windows are chunks; the table of models has no column for it."""
GATED = ("qwen3-next", "qwen3.5")
"""Families whose attention output is gated, where no column ``gated`` says so."""
DELTA_HEAD_SIZE = 128.0
"""Key and value width of one Gated DeltaNet head (Qwen3-Next, Qwen3.5 configs)."""
CONVOLUTION_SIZE = 4.0
"""Taps of the short convolution (Mamba-2 and Gated DeltaNet configs)."""


@dataclass(frozen=True)
class ModelInfo:
    """What a preset says of itself, and what is known of each value."""

    name: str
    title: str
    source: str
    aliases: tuple[str, ...]
    note: str
    values: dict[str, ValueInfo]


def load_model(
    name_or_path: str | Path, *, training_tokens: Tokens | None = None
) -> Transformer:
    """Transformer of a preset, a YAML file or a Hugging Face ``config.json``.

    ``training_tokens`` overrides what the file says. A ``config.json`` says
    nothing: without it the number is 0, meaning unknown, and quality cannot be
    computed.

    Example:
        >>> import codesign.core.checks
        >>> codesign.core.checks.enable_x64()
        >>> float(load_model("meta-llama/Llama-3.1-70B").hidden_size)
        8192.0
    """
    config = config_file(Path(name_or_path))
    if config is None:
        model = build_transformer(_read_parameters(read_preset("models", name_or_path)))
    else:
        model = from_huggingface(read_config_file(config))
    if training_tokens is None:
        return model
    return as_float64(model.replace(training_tokens=training_tokens))


def model_info(name: str | Path) -> ModelInfo:
    """Title, source, aliases and the origin of each value of a preset."""
    document = read_preset("models", name)
    data = document.data
    return ModelInfo(
        name=str(data.get("name", Path(document.file).stem)),
        title=str(data.get("title", "")),
        source=str(data.get("source", "")),
        aliases=tuple(str(alias) for alias in data.get("aliases") or ()),
        note=str(data.get("note", "")),
        values=_read_infos(document),
    )


def model_from_row(row: Mapping[str, str]) -> Transformer:
    """Transformer of one row of a table of models, in 16 bit.

    Columns are those of ``models.csv`` of the measured data: shape by name
    (``layers``, ``hidden``, ``heads``, ...). Layers are counted by mixer:
    attention + Mamba + linear attention. Gated DeltaNet enters as the
    recurrence of equal projections and state, with heads of width 128.

    Raises:
        InputError: with every column that is missing or not a number.
    """
    columns = _read_columns(row)
    mixers = ("attn_layers", "mamba_layers", "linattn_layers")
    experts = columns["moe_layers"] > 0
    values = {
        "hidden_size": columns["hidden"],
        "num_layers": sum(columns[name] for name in mixers),
        "num_ffn_layers": columns["ffn_layers"] + columns["moe_layers"],
        "num_heads": columns["heads"],
        "num_kv_heads": columns["kv_heads"],
        "head_size": columns["head_dim"],
        "ffn_size": columns["ffn_dim"],
        "num_ffn_matrices": columns["ffn_mats"],
        "vocab_size": columns["vocab"],
        "tied_embeddings": columns["tied_embeddings"],
        "num_window_layers": columns["window_layers"],
        "window_size": columns["window"],
        "chunked_attention": _is_one_of(row["arch"], families=CHUNKED),
        "gated_attention": columns["gated"] or _is_one_of(row["arch"], families=GATED),
        "latent_fraction": float(row["attention"].strip().casefold() == "mla"),
    }
    if experts:
        values |= {
            "num_experts": columns["experts"],
            "num_active_experts": columns["top_k"],
            "expert_size": columns["expert_ffn"],
            "shared_size": columns["shared_experts"] * columns["shared_ffn"],
            "num_dense_layers": columns["ffn_layers"],
        }
    return build_transformer({**values, **_latent(columns), **_recurrent(columns)})


def _is_one_of(name: str, *, families: tuple[str, ...]) -> float:
    return float(any(family in name.casefold() for family in families))


_NEEDED_COLUMNS = (
    "attn_layers",
    "hidden",
    "heads",
    "kv_heads",
    "head_dim",
    "ffn_mats",
    "vocab",
    "ffn_layers",
    "moe_layers",
)
_OTHER_COLUMNS = (
    "ffn_dim",
    "gated",
    "tied_embeddings",
    "window",
    "window_layers",
    "experts",
    "top_k",
    "expert_ffn",
    "shared_experts",
    "shared_ffn",
    "mla_q_rank",
    "mla_kv_rank",
    "mla_rope_dim",
    "mla_nope_dim",
    "mla_v_dim",
    "mamba_layers",
    "mamba_inner",
    "mamba_state",
    "mamba_groups",
    "mamba_heads",
    "linattn_layers",
    "linattn_kdim",
    "linattn_vdim",
)
_ATTENTION_KINDS = ("gqa", "mla")


def _read_columns(row: Mapping[str, str]) -> dict[str, float]:
    problems: list[str] = []
    columns: dict[str, float] = {}
    for name in (*_NEEDED_COLUMNS, *_OTHER_COLUMNS):
        text = (row.get(name) or "").strip()
        if not text and name in _NEEDED_COLUMNS:
            problems.append(f"column {name} is missing")
        try:
            columns[name] = float(text or 0.0)
        except ValueError:
            problems.append(f"column {name} is {text!r}, not a number")
    kind = (row.get("attention") or "").strip().casefold()
    if kind not in _ATTENTION_KINDS:
        known = ", ".join(_ATTENTION_KINDS)
        problems.append(f"column attention is {kind!r}, known are {known}")
    if problems:
        raise InputError(f"model {row.get('arch', '?')!r}: {'; '.join(problems)}")
    return columns


def _latent(columns: Mapping[str, float]) -> dict[str, float]:
    return {
        "latent.query_rank": columns["mla_q_rank"],
        "latent.kv_rank": columns["mla_kv_rank"],
        "latent.rope_size": columns["mla_rope_dim"],
        "latent.nope_size": columns["mla_nope_dim"],
        "latent.value_size": columns["mla_v_dim"],
    }


def _recurrent(columns: Mapping[str, float]) -> dict[str, float]:
    if columns["mamba_layers"] > 0:
        return {
            "recurrent.num_layers": columns["mamba_layers"],
            "recurrent.inner_size": columns["mamba_inner"],
            "recurrent.state_size": columns["mamba_state"],
            "recurrent.num_groups": columns["mamba_groups"],
            "recurrent.num_heads": columns["mamba_heads"],
            "recurrent.conv_size": CONVOLUTION_SIZE,
        }
    if columns["linattn_layers"] > 0:
        return {
            "recurrent.num_layers": columns["linattn_layers"],
            "recurrent.inner_size": columns["linattn_vdim"],
            "recurrent.state_size": DELTA_HEAD_SIZE,
            "recurrent.num_groups": columns["linattn_kdim"] / DELTA_HEAD_SIZE,
            "recurrent.num_heads": columns["linattn_vdim"] / DELTA_HEAD_SIZE,
            "recurrent.conv_size": CONVOLUTION_SIZE,
        }
    return {}


def config_file(path: Path) -> Path | None:
    """The ``config.json`` that a path names, or None for a preset or YAML."""
    if path.suffix == ".json":
        return path
    inside = path / "config.json"
    return inside if inside.is_file() else None


def read_config_file(path: Path) -> Mapping[str, Any]:
    """Content of a ``config.json``, an object of keys to values."""
    if not path.is_file():
        raise InputError(f"{path}: no such file.")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        where = f"{path.name}:{error.lineno}"
        raise InputError(f"{where}  not valid JSON: {error.msg}.") from error
    if not isinstance(content, dict):
        raise InputError(f"{path.name}  expected an object of keys to values.")
    return content


def _read_parameters(document: Document) -> dict[str, float]:
    infos = _read_infos(document)
    return {k: info.value for k, info in infos.items() if isinstance(info.value, float)}


def _read_infos(document: Document) -> dict[str, ValueInfo]:
    """What is known of each parameter; every problem of the file at once."""
    problems = problems_of(document)
    for key in document.data:
        if key not in DOCUMENT_KEYS:
            problems.unknown_key(key, list(DOCUMENT_KEYS))
    if "parameters" not in document.data:
        problems.missing_keys("", ["parameters"])
    parameters = document.data.get("parameters", {})
    infos = read_values(
        Transformer,
        parameters,
        problems=problems,
        prefix="parameters",
        optional=optional_fields(parameters),
    )
    _check_values(infos, problems)
    problems.raise_if_any()
    return infos


def optional_fields(parameters: Any) -> set[str]:
    """Fields that the given ones leave without meaning, and the formats.

    A dense model needs no experts, one without windows no window size, one
    without a ``latent`` or ``recurrent`` section none of its fields.
    """
    given: Mapping[str, Any] = parameters if isinstance(parameters, dict) else {}
    optional = set(_FORMATS)
    if "num_experts" in given:
        optional |= {"ffn_size"}
    else:
        optional |= {"num_experts", *_EXPERTS}
    if not _WINDOWS & given.keys():
        optional |= _WINDOWS
    if "latent" not in given:
        optional |= {"latent_fraction"}
        optional |= set() if given.get("latent_fraction") else {"latent."}
    if "recurrent" not in given:
        optional |= {"recurrent."}
    return optional


def _check_values(infos: Mapping[str, ValueInfo], problems: Problems) -> None:
    values: dict[str, float] = {}
    for name, info in infos.items():
        if isinstance(info.value, list):
            problems.add(f"parameters.{name}", "expected one number, found a list.")
            continue
        values[name] = info.value
        if info.value < 0 or (info.value == 0 and name in _POSITIVE):
            problems.add(f"parameters.{name}", f"{info.value:g} is not positive.")
    for name in [name for name in _SHARES if values.get(name, 0.0) > 1]:
        problems.add(f"parameters.{name}", f"{values[name]:g} is above 1.")
    for small, large in _ORDERED:
        if values.get(small, 0.0) > values.get(large, math.inf):
            message = f"{values[small]:g} is more than {large}, {values[large]:g}."
            problems.add(f"parameters.{small}", message)
