"""A draft model in designs, files, studies and flags."""

from pathlib import Path
from typing import Any

import pytest

from codesign.config.design import build_design, load_design, save_design
from codesign.config.drafting import GUESSES
from codesign.config.resolved import resolved_study
from codesign.config.study import load_study
from codesign.core.errors import InputError
from codesign.serving.design import Design
from codesign.study.plain import from_plain, to_plain
from tests.helpers import assert_trees_close

FIXTURES = Path(__file__).parents[1] / "fixtures" / "huggingface"


def build(**more: Any) -> Design:
    given = {"model": "llama-3-70b", "draft": "llama-3-8b", "tensor_parallel": 8}
    sizes = {"num_chips": 8, "batch": 4, "prompt_length": 1024, "output_length": 256}
    return build_design(chip="h100-sxm", **{**given, **sizes, **more})


def test_guesses_and_acceptance_have_defaults():
    found = build().deployment
    assert float(found.draft_tokens) == GUESSES
    assert 0.7 < float(found.acceptance) < 0.8
    given = build(draft_tokens=2, acceptance=0.8).deployment
    assert float(given.draft_tokens) == 2.0
    assert float(given.acceptance) == 0.8


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"draft": "qwen3-8b"}, "draft: its vocabulary has 151936 entries"),
        ({"draft": None, "draft_tokens": 3}, "draft_tokens: needs a model"),
        ({"draft": "lama-3-8b"}, "draft.*llama-3-8b"),
        ({"draft": str(FIXTURES / "llama-3-8b.json")}, "give acceptance"),
        ({"tensor_parallel": 64, "num_chips": 64}, "does not divide its 32 heads"),
        ({"acceptance": 1.5}, "deployment.acceptance: 1.5 is above 1|is above 1"),
    ],
)
def test_mistakes_are_named(given: dict[str, Any], message: str):
    with pytest.raises(InputError, match=message):
        build(**{k: v for k, v in given.items() if v is not None} | _absent(given))


def _absent(given: dict[str, Any]) -> dict[str, Any]:
    return {"draft": None} if given.get("draft", "") is None else {}


def test_a_design_file_keeps_its_draft_model(tmp_path: Path):
    design, file = build(), tmp_path / "design.yaml"
    save_design(design, file)
    assert_trees_close(load_design(file), design, rtol=0.0)
    assert_trees_close(from_plain(Design, to_plain(design)), design, rtol=0.0)
    without = design.replace(draft=None)
    assert from_plain(Design, to_plain(without)).draft is None


def test_a_study_searches_over_the_number_of_guesses(tmp_path: Path):
    study = load_study(
        "joint_chat",
        overrides=(
            "baseline.draft=llama-3-8b",
            "baseline.draft_tokens=3",
            "free.deployment.draft_tokens={choices: [1, 2, 4, 8]}",
        ),
    )
    assert study.baseline.draft is not None
    assert float(study.baseline.deployment.draft_tokens) == 3.0
    copy = tmp_path / "copy.yaml"
    copy.write_text(resolved_study(study), encoding="utf-8")
    assert_trees_close(load_study(copy).baseline, study.baseline, rtol=1e-12)
    assert load_study("joint_chat").baseline.draft is None
