"""Which flags describe a design, and which design do they describe?

``--chip``, ``--num-chips`` and their kin, a design file, ``--set`` -> ``Design``.
"""

import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from codesign.core.errors import InputError

if TYPE_CHECKING:
    from codesign.config.chips import ChipInfo
    from codesign.serving.design import Design

RECORD_FLAGS = {
    "chip": "Chip: preset, alias or YAML file.",
    "model": "Model: preset, YAML file or Hugging Face config.json.",
    "stack": "Serving stack: preset or YAML file. Default: the chip's own.",
    "draft": "Small model that guesses tokens (speculative decoding). Default: none.",
}
NUMBER_FLAGS = {
    "num_chips": "Chips that serve together. Default: 1.",
    "tensor_parallel": "Chips that share each layer. Default: as many as divide.",
    "pipeline_parallel": "Stages of layers. Default: 1.",
    "expert_parallel": "Ranks that experts are spread over. Default: 1.",
    "draft_tokens": "Guesses verified per step. Default with a draft model: 4.",
    "acceptance": "Share of guesses that are right. Default: from both models' loss.",
    "batch": "Running sequences of all replicas together (closed loop).",
    "rate": 'Arrival rate, such as "4 req/s" (open loop).',
    "prompt_length": "Prompt tokens per request.",
    "output_length": "Mean output tokens per request.",
    "output_variation": "Spread of output lengths over their mean. Default: 0.",
    "prefix_hit_fraction": "Share of prompt tokens found in a cache. Default: 0.",
    "lifetime_tokens": 'All tokens the model will write, such as "1e15 token".',
    "power_limit": 'Power cap per chip, such as "500 W". Default: the TDP.',
    "decode_voltage": "Highest voltage in decode steps. Default: the chip's.",
    "prefill_voltage": "Highest voltage in steps with prefill. Default: the chip's.",
    "domain_size": "Chips on the fast links. Default: that of the chip's server.",
    "outer_bandwidth": 'Bandwidth beyond them, such as "50 GB/s".',
    "outer_latency": 'Latency beyond them, such as "5 us".',
    "hops": "Links that a message crosses. Default: that of the chip's server.",
}
PANEL = "Design"
KINDS = {"chip": "chips", "model": "models", "stack": "stacks", "draft": "models"}

Overrides = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="PATH=VALUE",
        help='Change one parameter, such as chip.dram.bandwidth="8 TB/s". Repeatable.',
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON in SI units.")]


@dataclass(frozen=True)
class DesignFlags:
    """What the user gave: a file of a whole design, single flags, overrides."""

    file: Path | None
    given: dict[str, str]
    overrides: tuple[str, ...]

    def text(self) -> str:
        """The design in a few words, for a title."""
        names = [self.file.name] if self.file else []
        names += [self.given[name] for name in RECORD_FLAGS if name in self.given]
        names += [f"{k} {v}" for k, v in self.given.items() if k not in RECORD_FLAGS]
        return "  ".join([*names, *self.overrides])


def design_flags(command: Callable[..., None]) -> Callable[..., None]:
    """The command with the flags of a design, which it takes as first argument."""
    own = [*inspect.signature(command).parameters.values()]

    @functools.wraps(command)
    def run(*, design: Path | None, overrides: list[str] | None, **others: Any) -> None:
        names = [*RECORD_FLAGS, *NUMBER_FLAGS]
        values = {name: others.pop(name) for name in names}
        given = {name: text for name, text in values.items() if text is not None}
        command(DesignFlags(design, given, tuple(overrides or ())), **others)

    shown = [*_design_parameters(), *(p for p in own[1:] if p.name != "flags")]
    keyword = inspect.Parameter.KEYWORD_ONLY
    run.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [p.replace(kind=keyword) for p in shown]
    )
    return run


def complete(kind: str) -> Callable[[str], list[str]]:
    """Completion of the names of presets of a kind, for a shell."""

    def names(incomplete: str) -> list[str]:
        from codesign.config.catalogue import list_presets

        return [name for name in list_presets(kind) if name.startswith(incomplete)]

    return names


def _design_parameters() -> list[inspect.Parameter]:
    file = Annotated[
        Path | None,
        typer.Argument(
            metavar="DESIGN.yaml",
            help="File of a whole design, such as best.yaml of a run.",
            show_default=False,
        ),
    ]
    parameters = [_parameter("design", file)]
    for name, text in {**RECORD_FLAGS, **NUMBER_FLAGS}.items():
        option = typer.Option(
            help=text,
            rich_help_panel=PANEL,
            show_default=False,
            autocompletion=complete(KINDS[name]) if name in KINDS else None,
        )
        parameters.append(_parameter(name, Annotated[str | None, option]))
    return [*parameters, _parameter("overrides", Overrides)]


def _parameter(name: str, annotation: Any) -> inspect.Parameter:
    kind = inspect.Parameter.KEYWORD_ONLY
    return inspect.Parameter(name, kind, default=None, annotation=annotation)


def flag_name(name: str) -> str:
    """The flag of a parameter, ``--num-chips`` of ``num_chips``."""
    return f"--{name.replace('_', '-')}"


def given_chip(flags: DesignFlags) -> "ChipInfo | None":
    """What is known of the chip that the flags name; None for a design file's."""
    from codesign.config.chips import chip_info

    return chip_info(flags.given["chip"]) if "chip" in flags.given else None


def given_stack(flags: DesignFlags) -> str:
    """Name of the stack that the flags name or their chip has, "" for a design file."""
    chip = given_chip(flags)
    return str(flags.given.get("stack") or (chip.stack if chip else ""))


def unsure_values(flags: DesignFlags) -> dict[str, dict[str, Any]] | None:
    """Announced, recalled and assumed values of the chip, for JSON; None unknown."""
    from codesign.config.records import unsure_facts

    chip = given_chip(flags)
    return unsure_facts(chip.values) if chip else None


def read_design(flags: DesignFlags) -> "Design":
    """The design that flags, file and overrides describe, checked.

    Raises:
        InputError: with every problem, one per line.
    """
    return _changed_design(flags) if flags.file else _new_design(flags)


def _new_design(flags: DesignFlags) -> "Design":
    from codesign.config.design import Draft
    from codesign.config.overrides import split_assignment
    from codesign.config.yaml import Problems

    problems = Problems(file="codesign")
    draft = Draft(
        flags.given,
        problems=problems,
        overrides=dict(split_assignment(text) for text in flags.overrides),
        places={name: flag_name(name) for name in (*RECORD_FLAGS, *NUMBER_FLAGS)},
        override_place="--set ",
    )
    design = draft.design()
    problems.raise_if_any()
    if design is None:
        raise InputError("The flags describe no design.")
    return design


def _changed_design(flags: DesignFlags) -> "Design":
    from codesign.config.design import PLACES, check_design, load_design
    from codesign.config.drafting import with_draft
    from codesign.config.models import load_model
    from codesign.config.overrides import apply_overrides
    from codesign.config.stacks import load_stack
    from codesign.config.yaml import Problems

    if flags.file is None or "chip" in flags.given:
        raise InputError(
            "--chip: a design file already holds a chip, with its system. Change it "
            "with --set chip.…=…, or leave out the file and give all flags."
        )
    design = load_design(flags.file)
    given = dict(flags.given)
    if "model" in given:
        design = design.replace(model=load_model(given.pop("model")))
    if "stack" in given:
        design = design.replace(stack=load_stack(given.pop("stack")))
    if "draft" in given:
        design = design.replace(draft=load_model(given.pop("draft")))
        given.setdefault("acceptance", "0")
    if "batch" in given and "rate" not in given:
        given["rate"] = "0 req/s"
    numbers = [f"{PLACES[name]}={text}" for name, text in given.items()]
    design = apply_overrides(design, [*numbers, *flags.overrides])
    problems = Problems(file="codesign")
    design = with_draft(design, problems, place=flag_name)
    problems.raise_if_any()
    check_design(design)
    return design
