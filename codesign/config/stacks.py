"""Which serving stack does a name or a file describe?

A preset, alias or YAML file -> ``Stack``, and what is known of every constant.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from codesign.config.catalogue import read_preset
from codesign.config.records import (
    ValueInfo,
    read_values,
    record_from_values,
)
from codesign.config.sections import checked_keys
from codesign.config.yaml import problems_of
from codesign.serving.stack import Stack

UNSAID = {"maturity": 1.0, "prompt_attention_factor": 1.0}
"""Where a stack does not say: its other constants hold what its software wastes."""
SAME_WIDTH = {
    "time_factor_8bit_block": "time_factor_8bit",
    "time_factor_nvfp4": "time_factor_4bit",
    "time_factor_int4": "time_factor_4bit",
}
"""Classes of formats that a stack may leave out, and the one of their width."""
OPTIONAL_VALUES = {*UNSAID, *SAME_WIDTH}
STACK_KEYS = ("name", "title", "aliases", "note", "serves", "values", "fit")


@dataclass(frozen=True)
class StackInfo:
    """What the catalogue knows of a serving stack.

    ``fit`` and ``serves`` are as the file has them: how it was fitted, and whose runs
    it predicts (``chips`` by name, ``engines`` with the first version of each).
    """

    name: str
    title: str
    aliases: list[str]
    note: str
    values: dict[str, ValueInfo]
    fit: dict[str, Any]
    serves: dict[str, Any]


def load_stack(name_or_path: str | Path) -> Stack:
    """The serving stack of a preset, alias or YAML file.

    Example:
        >>> import codesign.core.checks
        >>> codesign.core.checks.enable_x64()
        >>> float(load_stack("ideal").layer_time)
        0.0
    """
    values = stack_info(name_or_path).values
    given = {path: v.value for path, v in values.items()}
    same = {path: given[other] for path, other in SAME_WIDTH.items()}
    return record_from_values(Stack, {**UNSAID, **same, **given})


def stack_info(name_or_path: str | Path) -> StackInfo:
    """Title, and value, spread and source of each constant of a serving stack."""
    document = read_preset("stacks", name_or_path)
    problems = problems_of(document)
    data = checked_keys(document, STACK_KEYS, problems=problems)
    values = read_values(
        Stack,
        data.get("values") or {},
        problems=problems,
        prefix="values",
        optional=OPTIONAL_VALUES,
    )
    problems.raise_if_any()
    return StackInfo(
        name=str(data["name"]),
        title=str(data.get("title", data["name"])),
        aliases=[str(alias) for alias in data.get("aliases") or []],
        note=str(data.get("note", "")),
        values=values,
        fit=dict(data.get("fit") or {}),
        serves=dict(data.get("serves") or {}),
    )
