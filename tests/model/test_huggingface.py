"""Import of config.json: equal to the presets, and clear about what is wrong."""

import json
from pathlib import Path

import pytest

from codesign.config.catalogue import list_presets
from codesign.config.models import load_model
from codesign.core.errors import InputError
from codesign.model.huggingface import FAMILIES, from_huggingface
from codesign.model.parameters import count_parameters
from tests.helpers import assert_trees_close

FIXTURES = Path(__file__).resolve().parents[1] / "fixtures" / "huggingface"

SIZES = {
    "deepseek-v2-lite": 15.71e9,
    "gemma-2-9b": 9.241e9,
    "kimi-k2": 1026.4e9,
    "mistral-7b-v0.1": 7.242e9,
    "nemotron-3-nano-30b-a3b": 31.58e9,
    "qwen2-57b-a14b": 57.41e9,
    "starcoder2-15b": 15.96e9,
}
"""Released checkpoints that have no preset."""


def read(name: str) -> dict:
    return json.loads((FIXTURES / f"{name}.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", list_presets("models"))
def test_import_equals_the_preset(name: str):
    preset = load_model(name)
    imported = from_huggingface(
        read(name), training_tokens=float(preset.training_tokens)
    )
    assert_trees_close(imported, preset)


@pytest.mark.parametrize("name", SIZES)
def test_import_has_the_published_size(name: str):
    total = count_parameters(from_huggingface(read(name))).total
    assert float(total) == pytest.approx(SIZES[name], rel=1e-3)


def test_every_preset_without_a_fixture_is_noticed():
    fixtures = {path.stem for path in FIXTURES.glob("*.json")}
    assert set(list_presets("models")) | set(SIZES) == fixtures


@pytest.mark.parametrize(
    ("name", "layers", "size"),
    [
        ("gemma-3-27b", 52, 1024),
        ("gemma-2-9b", 21, 4096),
        ("gpt-oss-120b", 18, 128),
        ("llama-4-scout", 36, 8192),
        ("mistral-7b-v0.1", 32, 4096),
        ("qwen2-72b", 0, 0),
        ("mixtral-8x7b", 0, 0),
    ],
)
def test_windows(*, name: str, layers: int, size: int):
    model = from_huggingface(read(name))
    assert float(model.num_window_layers) == layers
    assert float(model.window_size) == size


def test_published_layer_types_win_over_the_rule_of_the_family():
    config = read("mistral-7b-v0.1")
    config["layer_types"] = ["full_attention"] * 30 + ["sliding_attention"] * 2
    assert float(from_huggingface(config).num_window_layers) == 2


def test_formats_of_quantised_checkpoints():
    deepseek = from_huggingface(read("deepseek-v3"))
    assert float(deepseek.weight_bits) == float(deepseek.activation_bits) == 8
    oss = from_huggingface(read("gpt-oss-20b"))
    assert float(oss.weight_bits) == 4
    assert float(oss.activation_bits) == float(oss.min_attention_bits) == 16


def test_training_tokens_are_unknown_unless_given():
    assert float(from_huggingface(read("llama-3-8b")).training_tokens) == 0
    given = from_huggingface(read("llama-3-8b"), training_tokens=15e12)
    assert float(given.training_tokens) == 15e12


def test_unknown_family_is_named_with_the_nearest():
    with pytest.raises(InputError, match=r"'qwen4_moe'.*Nearest known:.*qwen3_moe"):
        from_huggingface({"model_type": "qwen4_moe"})
    with pytest.raises(InputError, match=r"no model_type.*llama"):
        from_huggingface({"hidden_size": 64})


def test_all_missing_keys_are_named_at_once():
    config = read("qwen3-30b-a3b")
    for key in ("hidden_size", "num_experts", "moe_intermediate_size"):
        del config[key]
    with pytest.raises(InputError) as caught:
        from_huggingface(config)
    message = str(caught.value)
    assert "hidden_size is missing" in message
    assert "num_experts or num_local_experts or n_routed_experts is missing" in message
    assert "moe_intermediate_size is missing" in message


def test_unreadable_values_are_named():
    config = read("llama-3-8b") | {"hidden_size": "wide", "vocab_size": 0}
    with pytest.raises(InputError, match=r"'wide', not a number.*vocab_size is 0"):
        from_huggingface(config)


def test_pattern_must_agree_with_the_number_of_blocks():
    config = read("nemotron-nano-9b-v2") | {"num_hidden_layers": 50}
    with pytest.raises(InputError, match=r"56 blocks, num_hidden_layers says 50"):
        from_huggingface(config)


@pytest.mark.parametrize("model_type", FAMILIES)
def test_an_empty_config_is_an_input_error_in_every_family(model_type: str):
    with pytest.raises(InputError, match="hidden_size is missing"):
        from_huggingface({"model_type": model_type})
