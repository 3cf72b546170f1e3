"""How does a study look with every default written out?

``Study`` -> the content of its file, as data and as YAML text.
"""

import copy
import io
from collections.abc import Mapping
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap

from codesign.config.chips import chip_info
from codesign.config.design import PLACES, exact_text
from codesign.config.question import Study
from codesign.config.sweep import Axis, Plan
from codesign.config.units import format_quantity
from codesign.config.variables import Variable
from codesign.core.paths import get_path, path_units
from codesign.core.quantities import Unit
from codesign.serving.design import Design

REQUEST_KEYS = tuple(n for n, p in PLACES.items() if p.startswith("request."))
DRAFTING = ("draft_tokens", "acceptance")


def resolved_study(study: Study) -> str:
    """YAML text of a study with every default filled in; loads as the same study."""
    content = copy.deepcopy(study.resolved)
    free = CommentedMap()
    for variable in study.free:
        entry = CommentedMap(content["free"][variable.path])
        entry.fa.set_flow_style()
        free[variable.path] = entry
        value = float(get_path(study.baseline, variable.path))
        inside = variable.low <= value <= variable.high
        note = f"baseline {format_quantity(value, Unit(variable.unit))}"
        free.yaml_add_eol_comment(note + ("" if inside else ", outside"), variable.path)
    content["free"] = free
    yaml = YAML()
    yaml.width = 10_000
    stream = io.StringIO()
    yaml.dump(content, stream)
    return stream.getvalue()


def resolved_content(study: Study, given: Mapping[str, Any]) -> dict[str, Any]:
    """Content of the file of a study, of whose baseline the arguments are given."""
    design, open_loop = study.baseline, float(study.baseline.request.rate) > 0
    units = path_units(Design)
    numbers = {
        name: exact_text(float(get_path(design, path)), units[path])
        for name, path in PLACES.items()
        if name != ("batch" if open_loop else "rate")
        and (design.draft is not None or name not in DRAFTING)
    }
    baseline = {name: given[name] for name in ("chip", "model")}
    baseline["stack"] = given.get("stack") or chip_info(given["chip"]).stack
    baseline |= {"draft": given["draft"]} if "draft" in given else {}
    baseline |= {k: v for k, v in numbers.items() if k not in REQUEST_KEYS}
    baseline["tune"] = [prefix.removesuffix(".") for prefix in study.tune]
    changes = given.get("set") or {}
    kept = {k: v for k, v in changes.items() if k not in PLACES.values()}
    if kept:
        baseline["set"] = kept
    content = {
        "name": study.name,
        "baseline": baseline,
        "request": {k: v for k, v in numbers.items() if k in REQUEST_KEYS},
        "free": {variable.path: bounds_text(variable) for variable in study.free},
        "minimize": study.minimize,
        "subject_to": [limit.text for limit in study.limits],
        "off": list(study.off),
        "search": {"starts": study.search.starts, "seed": study.search.seed},
    }
    return content if study.sweep is None else {**content, "sweep": _sweep(study.sweep)}


def _sweep(plan: Plan) -> dict[str, Any]:
    drawn = {"points": plan.points} if not plan.axes[0].values else {}
    return {
        "method": plan.method,
        "over": {axis.path: _axis(axis) for axis in plan.axes},
        **drawn,
        "seed": plan.seed,
        "search": plan.search,
        "executor": plan.executor,
    }


def _axis(axis: Axis) -> Any:
    unit = Unit(axis.unit)
    if axis.values:
        return [exact_text(value, unit) for value in axis.values]
    ends = {"min": exact_text(axis.low, unit), "max": exact_text(axis.high, unit)}
    return {**ends, "log": True} if axis.scale == "log" else ends


def bounds_text(variable: Variable) -> dict[str, Any]:
    """The entry of a variable in the ``free`` section of a study."""
    unit = Unit(variable.unit)
    if variable.choices and not variable.power_of_two:
        return {"choices": [exact_text(value, unit) for value in variable.choices]}
    high = exact_text(variable.high, unit)
    if variable.high_path:
        factor = variable.high_factor
        high = f"{factor!r} * " * (factor != 1.0) + variable.high_path
    entry = {"min": exact_text(variable.low, unit), "max": high}
    if variable.power_of_two:
        return {**entry, "power_of_two": True}
    if variable.multiple:
        entry["multiple_of"] = exact_text(variable.multiple, unit)
    return {**entry, "integer": True} if variable.integer else entry
