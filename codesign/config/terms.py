"""On which terms does a study compare, and is everything that is free paid for?

Entries ``recipe``, ``reference``, ``budget`` and ``answers`` of a study file -> the
same, checked; its objective and limits against what it leaves free.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from codesign.config.design import locate
from codesign.config.quality import load_quality_constants
from codesign.config.recipe import (
    ROUNDED,
    Recipe,
    read_recipe,
    read_reference,
    reference_recipe,
)
from codesign.config.yaml import Problems
from codesign.core.errors import InputError
from codesign.outcome.text import PER_BYTE
from codesign.serving.design import Design

KEYS = ("recipe", "reference", "budget", "answers")
BUDGETS = ("tokens", "compute", "lifetime")
ANSWERS = ("as asked", "equal")
LIFE = ("lifetime_energy", "training_energy")
VOCABULARY, TRAINING = "model.vocab_size", "model.training_tokens"


def read_terms(
    data: Mapping[str, Any], problems: Problems, *, folder: Path
) -> dict[str, Any]:
    """What a file says of how designs are judged, paths made whole."""
    found = {name: data[name] for name in KEYS if name in data}
    for name, known in (("budget", BUDGETS), ("answers", ANSWERS)):
        if found.get(name, known[0]) not in known:
            allowed = f"{', '.join(known[:-1])} or {known[-1]}"
            problems.add(name, f"{found[name]!r} is not {allowed}.")
    reference = found.get("reference")
    if isinstance(reference, str):
        reference = {"model": reference}
    if isinstance(reference, dict) and isinstance(reference.get("model"), str):
        whole = str(locate(reference["model"], folder))
        found["reference"] = {**reference, "model": whole}
    read_reference(found.get("reference"), problems)
    recipe = read_recipe(found.get("recipe"), problems)
    theirs = reference_recipe(reference, recipe)
    for place, each in (("", recipe), ("reference.", theirs)):
        if each != ROUNDED and not problems.found:
            _check_methods(each, problems, place=place)
    return found


def _check_methods(recipe: Recipe, problems: Problems, *, place: str) -> None:
    try:
        load_quality_constants(recipe=recipe)
    except InputError as error:
        where, _, message = str(error).partition(": ")
        problems.add(f"{place}{where}", message)


def check_paid(
    data: Mapping[str, Any],
    problems: Problems,
    *,
    minimize: str,
    limits: Sequence[str],
    baseline: Design | None,
) -> None:
    """Note free vocabularies and training tokens that nothing pays for.

    ``limits`` are the metrics of the file's limits in order.
    """
    entries = data.get("free")
    free = entries if isinstance(entries, dict) else {}
    used = {"minimize": minimize}
    used |= {f"subject_to.{index}": name for index, name in enumerate(limits)}
    if VOCABULARY in free:
        for place in [place for place, name in used.items() if name in PER_BYTE]:
            message = (
                f"the vocabulary is free, so a token is no fixed amount of text; "
                f"write {PER_BYTE[used[place]]} instead of {used[place]}."
            )
            problems.add(place, message)
    names = {*used.values()}
    _check_training(
        str(data.get("budget", BUDGETS[0])),
        problems,
        free=TRAINING in free,
        paid=not names.isdisjoint(LIFE),
    )
    demand = 1.0 if baseline is None else float(baseline.request.lifetime_tokens)
    if demand <= 0 and "lifetime_energy" in names:
        message = "needs all tokens to come, such as lifetime_tokens: 1e15 token."
        problems.add("request.lifetime_tokens", message)


def _check_training(budget: str, problems: Problems, *, free: bool, paid: bool) -> None:
    if free and budget != "lifetime":
        message = (
            "training tokens are free of charge under this budget; say budget: "
            "lifetime and minimize: lifetime_energy."
        )
        problems.add(f"free.{TRAINING}", message)
    elif budget == "lifetime" and not (free and paid):
        message = (
            f"lifetime needs {TRAINING} under free, and lifetime_energy as "
            "objective or limit."
        )
        problems.add("budget", message)
