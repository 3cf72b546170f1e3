"""On which terms a study compares: text, answers, lifetime, recipes."""

from pathlib import Path

import pytest

from codesign.config.question import Study
from codesign.config.recipe import ROUNDED, Recipe
from codesign.config.resolved import resolved_study
from codesign.config.study import load_study
from codesign.core.errors import InputError
from codesign.outcome.terms import AS_PLACED, Terms

WORDS = "free.model.vocab_size={min: 32e3, max: 256e3, multiple_of: 1024}"
BY_TEXT = (
    WORDS,
    "minimize=energy_per_byte_server",
    "subject_to=[time_per_byte <= 8 ms/B, usd_per_byte <= baseline, quality.gap <= 0]",
)
TOKENS = "free.model.training_tokens={min: 5e12 token, max: 45e12 token}"
LIFE = (
    "budget=lifetime",
    TOKENS,
    "minimize=lifetime_energy",
    "request.lifetime_tokens=1e15 token",
)


def load(*overrides: str) -> Study:
    return load_study("joint_chat", overrides=overrides)


def written_again(study: Study, folder: Path) -> Study:
    copy = folder / "copy.yaml"
    copy.write_text(resolved_study(study), encoding="utf-8")
    return load_study(copy)


def test_nothing_is_held_equal_by_default():
    assert load().terms == AS_PLACED


def test_a_free_vocabulary_compares_text(tmp_path: Path):
    study = load(*BY_TEXT)
    assert study.terms == Terms(text=True)
    assert study.minimize == "energy_per_byte_server"
    assert written_again(study, tmp_path).terms == study.terms


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("minimize=energy_per_token", "write energy_per_byte instead"),
        ("minimize=usd_per_token", "write usd_per_byte instead"),
        (
            "subject_to=[time_per_output_token <= 30 ms]",
            "subject_to.0: the vocabulary is free.*write time_per_byte",
        ),
    ],
)
def test_a_token_is_no_unit_where_the_vocabulary_is_free(override: str, message: str):
    with pytest.raises(InputError, match=message):
        load(*BY_TEXT, override)
    load(override)


def test_equal_answers(tmp_path: Path):
    study = load("answers=equal", "minimize=energy_per_answer")
    assert study.terms == Terms(answers=True)
    assert written_again(study, tmp_path).terms == study.terms
    with pytest.raises(InputError, match="'same' is not as asked or equal"):
        load("answers=same")


def test_lifetime_pays_for_training_tokens(tmp_path: Path):
    study = load(*LIFE)
    assert study.minimize == "lifetime_energy"
    assert float(study.baseline.request.lifetime_tokens) == 1e15
    again = written_again(study, tmp_path)
    assert [v.path for v in again.free] == [v.path for v in study.free]
    assert again.resolved["budget"] == "lifetime"


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ((TOKENS,), "free of charge"),
        ((TOKENS, "budget=compute"), "free of charge"),
        (("budget=lifetime",), "needs model.training_tokens under free"),
        ((*LIFE, "minimize=energy_per_token"), "as objective or limit"),
        ((*LIFE, "request.lifetime_tokens=0 token"), "needs all tokens to come"),
    ],
)
def test_training_is_never_free(overrides: tuple[str, ...], message: str):
    with pytest.raises(InputError, match=message):
        load(*overrides)


def test_the_reference_may_have_a_recipe_of_its_own(tmp_path: Path):
    study = load(
        "recipe={trained: true}",
        "reference={model: llama-3-70b, recipe: {weights: awq}}",
    )
    assert study.recipe == Recipe(trained=True)
    assert study.reference_recipe == Recipe(weights="awq")
    assert written_again(study, tmp_path).reference_recipe == study.reference_recipe
    assert load("recipe={trained: true}").reference_recipe == Recipe(trained=True)
    assert load().reference_recipe == ROUNDED


@pytest.mark.parametrize(
    ("recipe", "message"),
    [
        ("{weigths: awq}", "reference.recipe.weigths.*Did you mean weights"),
        ("{weights: awqq}", "recipe.weights.*Close: awq"),
        ("{trained: maybe}", "reference.recipe.trained: expected true or false"),
    ],
)
def test_mistakes_in_the_recipe_of_the_reference(recipe: str, message: str):
    with pytest.raises(InputError, match=message):
        load(f"reference={{model: llama-3-70b, recipe: {recipe}}}")
