"""Which model is the yardstick of a study, and how its models got their formats."""

from pathlib import Path

import pytest

from codesign.config.models import load_model
from codesign.config.question import Study
from codesign.config.recipe import ROUNDED, Recipe
from codesign.config.resolved import resolved_study
from codesign.config.study import load_study
from codesign.core.errors import InputError

FIXTURES = Path(__file__).parents[1] / "fixtures" / "huggingface"


def load(*overrides: str) -> Study:
    return load_study("joint_chat", overrides=overrides)


def test_without_entries_the_baseline_is_the_yardstick():
    study = load()
    assert study.recipe == ROUNDED
    assert study.reference is study.baseline.model


def test_any_preset_is_a_reference():
    study = load("reference=qwen3-32b")
    expected = load_model("qwen3-32b")
    assert float(study.reference.num_layers) == float(expected.num_layers)
    assert float(study.baseline.model.num_layers) != float(expected.num_layers)


def test_a_config_file_with_training_tokens_is_a_reference():
    file = FIXTURES / "qwen3-8b.json"
    study = load(
        f"reference={{model: {file}, training_tokens: 36e12 token}}",
    )
    assert float(study.reference.training_tokens) == pytest.approx(36e12)


def test_recipe_is_read_and_written_back(tmp_path: Path):
    study = load("recipe={weights: awq, kv: kivi}", "reference=llama-3-8b")
    assert study.recipe == Recipe(weights="awq", kv="kivi")
    copy = tmp_path / "copy.yaml"
    copy.write_text(resolved_study(study), encoding="utf-8")
    again = load_study(copy)
    assert again.recipe == study.recipe
    assert float(again.reference.num_layers) == float(study.reference.num_layers)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("reference=lama-3-8b", "reference.*lama-3-8b"),
        (f"reference={FIXTURES / 'qwen3-8b.json'}", "reference.*training_tokens"),
        ("reference={modle: llama-3-8b}", "Did you mean model"),
        ("reference=3", "expected the name of a model"),
        ("recipe={weights: gptqq}", "recipe.weights.*Close: gptq"),
        ("recipe={weigths: gptq}", "Did you mean weights"),
        ("budget=money", "not tokens, compute or lifetime"),
    ],
)
def test_mistakes_are_named(override: str, message: str):
    with pytest.raises(InputError, match=message):
        load(override)


def test_budget_is_tokens_unless_it_is_compute(tmp_path: Path):
    assert not load().terms.compute
    study = load("budget=compute")
    assert study.terms.compute
    copy = tmp_path / "copy.yaml"
    copy.write_text(resolved_study(study), encoding="utf-8")
    assert load_study(copy).terms.compute
