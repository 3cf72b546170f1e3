"""Which keys and texts may stand in a file? JSON Schema for editors.

Records, their annotations and the readers' own lists of keys -> a schema of
studies, designs, chips, models and stacks.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from codesign.config.catalogue import list_presets
from codesign.config.chances import (
    FEWEST_DRAWS,
    GROUPS,
    HANDOFF_UNITS,
    MEAN,
    ROBUST_KEYS,
    SPLIT_KEYS,
)
from codesign.config.chips import (
    CHIP_KEYS,
    KIND_FILES,
    OPTIONAL,
    Datasheet,
)
from codesign.config.design import PLACES
from codesign.config.limits import metric_units, read_objective
from codesign.config.models import DOCUMENT_KEYS, optional_fields
from codesign.config.recipe import KEYS as RECIPE_KEYS
from codesign.config.records import ENTRY_KEYS, STATUSES, record_fields
from codesign.config.resolved import REQUEST_KEYS
from codesign.config.scenarios import JUDGES, SCENARIO_KEYS
from codesign.config.stacks import OPTIONAL_VALUES, STACK_KEYS
from codesign.config.study_reader import BASELINE_KEYS, STUDY_KEYS, groups
from codesign.config.sweep import EXECUTORS, METHODS, RANGE_KEYS, SWEEP_KEYS, swept_unit
from codesign.config.technology import list_kinds
from codesign.config.terms import ANSWERS, BUDGETS
from codesign.config.units import quantity_pattern
from codesign.config.variables import BOUND_KEYS, GOVERNED
from codesign.config.yaml import Problems
from codesign.core.errors import UnknownNameError
from codesign.core.paths import path_units
from codesign.core.quantities import Unit, unit_of
from codesign.core.record import Record, field_units
from codesign.cost.limits import Limits
from codesign.cost.record import Cost
from codesign.hardware.chip import Published, System
from codesign.model.transformer import Transformer
from codesign.quality.constants import QualityConstants
from codesign.quality.validity import Validity
from codesign.serving.design import Design
from codesign.serving.stack import Stack

DIALECT = "https://json-schema.org/draft/2020-12/schema"
Schema = dict[str, Any]

TEXT: Schema = {"type": "string"}
TEXTS: Schema = {"type": "array", "items": TEXT}
WHOLE: Schema = {"type": "integer", "minimum": 0}
PATH = r"^\s*(?:\d+\.?\d*(?:[eE][+-]?\d+)?\s*\*\s*)?[A-Za-z_][\w.]*\s*$"


def file_schema(kind: str) -> Schema:
    """JSON Schema of one kind of file: study, design, chip, model or stack.

    Raises:
        UnknownNameError: there is no such kind.

    Example:
        >>> file_schema("stack")["properties"]["name"]
        {'type': 'string'}
    """
    if kind not in BUILDERS:
        known = ", ".join(BUILDERS)
        raise UnknownNameError(f'no kind of file is called "{kind}". Known: {known}.')
    definitions = _Definitions()
    body = BUILDERS[kind](definitions)
    return {
        "$schema": DIALECT,
        "title": f"codesign {kind}",
        **body,
        "$defs": definitions.found,
    }


class _Definitions:
    """Quantities and entries by unit, each defined once and referred to."""

    def __init__(self) -> None:
        self.found: dict[str, Schema] = {}

    def quantity(self, unit: Unit) -> Schema:
        """A text with its unit; a bare number only where it has none."""
        forms: list[Schema] = [{"type": "string", "pattern": quantity_pattern(unit)}]
        if unit.text in ("1", "bit", "token", "MAC"):
            forms.append({"type": "number"})
        if unit.text == "s/token":
            forms.append({"type": "string", "pattern": quantity_pattern(Unit("s"))})
        title = f"quantity in {unit.text}, with its unit"
        return self._named(unit, {"title": title, "anyOf": forms}, kind="quantity")

    def entry(self, unit: Unit) -> Schema:
        """A quantity, a list of them, or a mapping that says where it comes from."""
        one = self.quantity(unit)
        value = {"anyOf": [one, {"type": "array", "items": one}]}
        keys: dict[str, Schema] = dict.fromkeys(ENTRY_KEYS, TEXT)
        keys |= dict.fromkeys(("value", "low", "high"), value)
        keys |= {"year": WHOLE, "status": {"enum": list(STATUSES)}}
        full = _mapping(keys, required=["value"])
        return self._named(unit, {"anyOf": [*value["anyOf"], full]}, kind="entry")

    def variable(self, unit: Unit) -> Schema:
        """Bounds or choices of a free parameter."""
        one = self.quantity(unit)
        parameter = {"title": "path of a parameter, or a number times one"}
        end = {"anyOf": [one, {**parameter, "type": "string", "pattern": PATH}]}
        keys = dict.fromkeys(BOUND_KEYS, one) | {
            "max": end,
            "choices": {"type": "array", "items": one, "minItems": 1},
            "integer": {"type": "boolean"},
            "power_of_two": {"type": "boolean"},
        }
        either = [{"required": ["choices"]}, {"required": ["min", "max"]}]
        schema = {**_mapping(keys), "anyOf": either}
        return self._named(unit, schema, kind="variable")

    def axis(self, unit: Unit) -> Schema:
        """Values of a swept parameter, or a range."""
        one = self.quantity(unit)
        keys = dict.fromkeys(RANGE_KEYS, one) | {
            "points": WHOLE,
            "log": {"type": "boolean"},
        }
        values = {"type": "array", "items": one, "minItems": 1}
        forms = [values, _mapping(keys, required=["min", "max"])]
        return self._named(unit, {"anyOf": forms}, kind="axis")

    def _named(self, unit: Unit, schema: Schema, *, kind: str) -> Schema:
        words = unit.text.replace("/", " per ").replace("^", "").replace("*", " ")
        name = f"{kind} {words}".replace(" ", "_")
        self.found[name] = schema
        return {"$ref": f"#/$defs/{name}"}


def _mapping(
    properties: Mapping[str, Schema], *, required: Iterable[str] = ()
) -> Schema:
    """A mapping of exactly these keys."""
    return {
        "type": "object",
        "properties": dict(properties),
        "required": list(required),
        "additionalProperties": False,
    }


def _record(
    record_type: type[Record],
    known: _Definitions,
    *,
    optional: Iterable[str] = (),
    prefix: str = "",
) -> Schema:
    """A mapping with the fields of a record; those that a reader may miss optional."""
    free = set(optional)
    properties: dict[str, Schema] = {}
    for name, annotation in record_fields(record_type).items():
        unit = unit_of(annotation)
        below = f"{prefix}{name}"
        if unit is not None:
            properties[name] = {**known.entry(unit), "description": f"unit {unit.text}"}
        else:
            inner = free | (
                _all_of(annotation, below) if f"{below}." in free else set()
            )
            properties[name] = _record(
                annotation, known, optional=inner, prefix=f"{below}."
            )
    required = [
        name
        for name in properties
        if not {f"{prefix}{name}", f"{prefix}{name}."} & free
    ]
    summary = (record_type.__doc__ or "").partition("\n")[0]
    return {**_mapping(properties, required=required), "description": summary}


def _all_of(record_type: type[Record], prefix: str) -> set[str]:
    return {f"{prefix}.{path}" for path, _ in field_units(record_type)}


def _preset(kind: str) -> Schema:
    """Name of a preset or path of a file, with the names for completion."""
    return {"type": "string", "examples": list_presets(kind)}


def _one_or_list(item: Schema) -> Schema:
    return {"anyOf": [item, {"type": "array", "items": item}]}


def _design(known: _Definitions) -> Schema:
    schema = _record(Design, known)
    schema["properties"]["draft"] = _record(Transformer, known)
    return schema


def _chip(known: _Definitions) -> Schema:
    published = [path for path, _ in field_units(Published)]
    kinds = {key: {"enum": list_kinds(file)} for key, file in KIND_FILES.items()}
    properties: dict[str, Schema] = dict.fromkeys(CHIP_KEYS, TEXT)
    properties |= {**kinds, "aliases": TEXTS, "stack": _preset("stacks")}
    properties |= {
        "system": _record(System, known, optional=["num_chips"]),
        "parameters": _record(Datasheet, known, optional=OPTIONAL),
        "published": _record(Published, known, optional=published),
    }
    needed = ("name", "style", "memory", "link", "stack", "system", "parameters")
    return _mapping(properties, required=needed)


def _model(known: _Definitions) -> Schema:
    dense, sparse = optional_fields({}), optional_fields({"num_experts": 1})
    free = {*dense, *sparse, "recurrent.", "latent."}
    properties: dict[str, Schema] = dict.fromkeys(DOCUMENT_KEYS, TEXT)
    properties["aliases"] = TEXTS
    properties["parameters"] = _record(Transformer, known, optional=free)
    return _mapping(properties, required=["parameters"])


def _stack(known: _Definitions) -> Schema:
    properties: dict[str, Schema] = dict.fromkeys(STACK_KEYS, TEXT)
    properties |= {"aliases": TEXTS}
    properties |= {key: {"type": "object"} for key in ("fit", "serves")}
    properties["values"] = _record(Stack, known, optional=OPTIONAL_VALUES)
    return _mapping(properties, required=["name", "values"])


def _study(known: _Definitions) -> Schema:
    units = path_units(Design)
    scalar = {p: unit for p, unit in units.items() if swept_unit(p) is not None}
    free = {p: known.variable(u) for p, u in scalar.items() if p not in GOVERNED}
    numbers = {name: known.quantity(units[path]) for name, path in PLACES.items()}
    baseline = {name: numbers[name] for name in BASELINE_KEYS if name in numbers}
    kinds = {"chip": "chips", "model": "models", "draft": "models", "stack": "stacks"}
    baseline |= {name: _preset(kind) for name, kind in kinds.items()}
    baseline["tune"] = _one_or_list({"enum": [*groups(), *units]})
    changes = {path: known.quantity(unit) for path, unit in scalar.items()}
    baseline["set"] = _mapping(changes)
    properties: dict[str, Schema] = dict.fromkeys(STUDY_KEYS, TEXT)
    properties |= {
        "baseline": _mapping(baseline, required=["chip", "model"]),
        "request": _mapping({name: numbers[name] for name in REQUEST_KEYS}),
        "free": _mapping(free),
        "minimize": {"enum": _objectives()},
        "subject_to": _one_or_list({"type": "string", "pattern": _limit_pattern()}),
        "off": _one_or_list({"type": "string", "pattern": _off_pattern()}),
        "search": _mapping({"starts": {**WHOLE, "minimum": 1}, "seed": WHOLE}),
        "budget": {"enum": list(BUDGETS)},
        "answers": {"enum": list(ANSWERS)},
        "recipe": _recipe(),
        "reference": _reference(known),
        "sweep": _sweep(known, scalar),
        "robust": _robust(),
        "split": _split(known),
    }
    properties["scenarios"] = _scenarios(properties)
    return _mapping(properties, required=["baseline", "request"])


def _scenarios(study: Mapping[str, Schema]) -> Schema:
    """Cases, each with what differs from the study."""
    case = {key: study[key] for key in ("request", "subject_to", "reference")}
    case["baseline"] = {**study["baseline"], "required": []}
    case["weight"] = {"type": "number", "exclusiveMinimum": 0}
    cases = {"type": "object", "additionalProperties": _mapping(case)}
    keys: dict[str, Schema] = dict.fromkeys(SCENARIO_KEYS, TEXTS)
    keys |= {"judge": {"enum": list(JUDGES)}, "shared": _one_or_list(TEXT)}
    return _mapping({**keys, "cases": cases}, required=["cases"])


def _robust() -> Schema:
    share = {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1}
    keys: dict[str, Schema] = dict.fromkeys(ROBUST_KEYS, WHOLE)
    keys |= {
        "over": _one_or_list({"enum": list(GROUPS)}),
        "draws": {**WHOLE, "minimum": FEWEST_DRAWS},
        "limits": share,
        "objective": {"anyOf": [{"enum": [MEAN]}, share]},
    }
    return _mapping(keys)


def _split(known: _Definitions) -> Schema:
    keys: dict[str, Schema] = {
        name: known.quantity(unit) for name, unit in HANDOFF_UNITS.items()
    }
    return _mapping(keys, required=list(SPLIT_KEYS))


def _objectives() -> list[str]:
    """Metrics that a study may minimise."""

    def allowed(name: str) -> bool:
        problems = Problems()
        read_objective(name, problems=problems)
        return not problems.found

    return [name for name in metric_units() if allowed(name)]


def _limit_pattern() -> str:
    names = [name for name in metric_units() if not name.startswith("limits.")]
    words = "|".join(name.replace(".", r"\.") for name in names)
    return rf"^\s*(?:{words})\s*(?:<=|>=)\s*\S"


def _off_pattern() -> str:
    names = [*path_units(Limits), *path_units(Validity), "validity"]
    return rf"^(?:[\w.]*\.)?(?:{'|'.join(dict.fromkeys(names))})$"


def _recipe() -> Schema:
    keys: dict[str, Schema] = dict.fromkeys(RECIPE_KEYS, TEXT)
    keys["trained"] = {"type": "boolean"}
    keys["group_size"] = {"type": "number", "exclusiveMinimum": 1}
    return _mapping(keys)


def _reference(known: _Definitions) -> Schema:
    keys = {
        "model": _preset("models"),
        "training_tokens": known.quantity(Unit("token")),
        "recipe": _recipe(),
    }
    return {"anyOf": [_preset("models"), _mapping(keys, required=["model"])]}


def _sweep(known: _Definitions, parameters: Mapping[str, Unit]) -> Schema:
    limits = [f"subject_to.{path}" for path in path_units(Cost)]
    constants = [f"quality.{path}" for path in path_units(QualityConstants)]
    over = {path: known.axis(unit) for path, unit in parameters.items()}
    for name in (*limits, *constants):
        unit = swept_unit(name)
        if unit is not None:
            over[name] = known.axis(unit)
    properties: dict[str, Schema] = dict.fromkeys(SWEEP_KEYS, WHOLE)
    properties |= {
        "method": {"enum": list(METHODS)},
        "over": _mapping(over),
        "search": {"type": "boolean"},
        "executor": {"enum": list(EXECUTORS)},
    }
    return _mapping(properties, required=["over"])


BUILDERS: dict[str, Callable[[_Definitions], Schema]] = {
    "study": _study,
    "design": _design,
    "chip": _chip,
    "model": _model,
    "stack": _stack,
}
