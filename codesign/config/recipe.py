"""How did models get their formats, and which model is the yardstick?

A recipe and the table of methods -> constants of the quality law; the entries
``recipe`` and ``reference`` of a study -> recipe and model.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp

from codesign.config.models import load_model
from codesign.config.records import read_entry
from codesign.config.units import parse_quantity
from codesign.config.yaml import Problems
from codesign.core.errors import InputError, UnitError, UnknownNameError
from codesign.core.paths import nearest
from codesign.core.quantities import Unit
from codesign.model.transformer import Transformer
from codesign.quality.constants import QualityConstants
from codesign.quality.evaluate import check_training_tokens

PRICES = {"weights": "weight_price", "kv": "kv_price"}
DEFAULT = "default"
KEYS = ("weights", "kv", "trained", "group_size")
REFERENCE_KEYS = ("model", "training_tokens", "recipe")


@dataclass(frozen=True)
class Recipe:
    """How models got their formats: rounded after training, or trained in them.

    ``weights`` and ``kv`` name methods of the file; None is a good method of its
    class. ``trained`` prices weights and activations as trained in their
    formats, with one scale per ``group_size`` elements.
    """

    weights: str | None = None
    kv: str | None = None
    trained: bool = False
    group_size: float | None = None


ROUNDED = Recipe()
Methods = Mapping[str, Mapping[str, float]]


def read_methods(data: Mapping[str, Any], problems: Problems) -> Methods:
    """Price of each post-training method over the default one's, by operand."""
    found: dict[str, dict[str, float]] = {}
    for operand, field in PRICES.items():
        default = _price(data["precision"][field], problems, path=f"precision.{field}")
        table = data["methods"].get(operand, {})
        found[operand] = {
            name: _price(entry, problems, path=f"methods.{operand}.{name}") / default
            for name, entry in table.items()
        }
        found[operand][DEFAULT] = 1.0
    problems.raise_if_any()
    return found


def _price(entry: Any, problems: Problems, *, path: str) -> float:
    info = read_entry(entry, Unit("1"), problems=problems, path=path)
    return 1.0 if info is None else float(info.value)


def apply_recipe(
    constants: QualityConstants, recipe: Recipe, *, methods: Methods
) -> QualityConstants:
    """The constants that a recipe needs; a method scales its operand's price.

    Works on draws too: a method's price is as uncertain as the default one's.

    Raises:
        InputError: the table has no method of that name.
    """
    rounding = constants.precision
    for operand, chosen in (("weights", recipe.weights), ("kv", recipe.kv)):
        known, field = methods[operand], PRICES[operand]
        name = DEFAULT if chosen is None else chosen
        if name not in known:
            close = ", ".join(nearest(name, list(known)) or known)
            raise InputError(
                f'recipe.{operand}: no method is called "{name}". Close: {close}.'
            )
        price = known[name] * getattr(rounding, field)
        rounding = rounding.replace(**{field: price})
    trained = constants.trained if recipe.trained else None
    if trained is not None and recipe.group_size is not None:
        size = jnp.asarray(recipe.group_size, jnp.float64)
        trained = trained.replace(group_size=size)
    return constants.replace(precision=rounding, trained=trained)


def read_recipe(data: Any, problems: Problems, *, place: str = "recipe") -> Recipe:
    """The recipe of a study's section; an absent one rounds by a good method."""
    if data is None:
        return ROUNDED
    if not isinstance(data, dict):
        problems.add(place, f"expected a mapping of keys to values, found {data!r}.")
        return ROUNDED
    for key in data:
        if key not in KEYS:
            problems.unknown_key(f"{place}.{key}", list(KEYS))
    trained, group = data.get("trained", False), data.get("group_size")
    if not isinstance(trained, bool):
        problems.add(f"{place}.trained", f"expected true or false, found {trained!r}.")
        return ROUNDED
    if group is not None and not (isinstance(group, int | float) and group > 1):
        message = f"expected a count above 1, found {group!r}."
        problems.add(f"{place}.group_size", message)
        return ROUNDED
    names = {key: str(data[key]) for key in ("weights", "kv") if key in data}
    return Recipe(trained=trained, group_size=group, **names)


def reference_recipe(data: Any, recipe: Recipe) -> Recipe:
    """How the reference got its formats: as its entry says, else like the others."""
    entry = data.get("recipe") if isinstance(data, dict) else None
    place = "reference.recipe"
    return recipe if entry is None else read_recipe(entry, Problems(), place=place)


def read_reference(data: Any, problems: Problems) -> Transformer | None:
    """The model that a study compares with; None without an entry.

    A preset or a ``config.json``, as text or as a mapping with training tokens and
    a recipe of its own.
    """
    if data is None:
        return None
    entry = data if isinstance(data, dict) else {"model": data}
    for key in entry:
        if key not in REFERENCE_KEYS:
            problems.unknown_key(f"reference.{key}", list(REFERENCE_KEYS))
    read_recipe(entry.get("recipe"), problems, place="reference.recipe")
    if not isinstance(entry.get("model"), str):
        problems.add("reference", "expected the name of a model or the path of a file.")
        return None
    try:
        tokens = entry.get("training_tokens")
        trained = None if tokens is None else parse_quantity(tokens, Unit("token"))
        model = load_model(entry["model"], training_tokens=trained)
        check_training_tokens(model)
    except (InputError, UnitError, UnknownNameError) as error:
        problems.add("reference", f"{error}")
        return None
    return model
