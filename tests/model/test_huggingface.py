"""Import of config.json: equal to the presets, and clear about what is wrong."""

import csv
import json
from pathlib import Path

import pytest

from codesign.config.catalogue import list_presets
from codesign.config.models import load_model
from codesign.core.errors import InputError
from codesign.model.huggingface import FAMILIES, from_huggingface
from codesign.model.parameters import count_parameters, num_attention_layers
from tests.helpers import assert_trees_close

FIXTURES = Path(__file__).resolve().parents[1] / "fixtures" / "huggingface"

SIZES = {
    "deepseek-v2-lite": 15.71e9,
    "kimi-k2": 1026.4e9,
    "minimax-text-01": 456e9,
    "mistral-7b-v0.1": 7.242e9,
    "nemotron-3-nano-30b-a3b": 31.58e9,
    "nemotron-4-340b": 341.0e9,
    "qwen2-57b-a14b": 57.41e9,
}
"""Released checkpoints that have neither a preset nor a measured row."""
ROUNDED_SIZES = {"qwen3-next-80b-a3b": 80e9, "glm-4.7": 355e9}
"""Published to two digits, or with a layer that predicts several tokens."""
MEASURED = {
    "Qwen/Qwen3-8B": "qwen3-8b",
    "Qwen/Qwen3-14B": "qwen3-14b",
    "Qwen/Qwen3-30B-A3B": "qwen3-30b-a3b",
    "Qwen/Qwen3-Coder-480B-A35B": "qwen3-coder-480b-a35b",
    "Qwen/Qwen3.5-397B-A17B": "qwen3.5-397b-a17b",
    "deepseek-ai/DeepSeek-V3": "deepseek-v3",
    "zai-org/GLM-5": "glm-5",
    "MiniMaxAI/MiniMax-M2.5": "minimax-m2.5",
    "meta-llama/Llama-3.1-8B": "llama-3-8b",
    "meta-llama/Llama-3.1-70B": "llama-3-70b",
    "meta-llama/Llama-2-70b": "llama-2-70b",
    "meta-llama/Llama-4-Scout-17B-16E": "llama-4-scout",
    "meta-llama/Llama-4-Maverick-17B-128E": "llama-4-maverick",
    "openai/gpt-oss-20b": "gpt-oss-20b",
    "google/gemma-3-12b": "gemma-3-12b",
    "google/gemma-3-27b": "gemma-3-27b",
    "nvidia/Nemotron-Nano-9B-v2": "nemotron-nano-9b-v2",
    "nvidia/Nemotron-Nano-12B-v2": "nemotron-nano-12b-v2",
    "mistralai/Mixtral-8x7B": "mixtral-8x7b",
    "google/gemma-2-2b": "gemma-2-2b",
    "google/gemma-2-9b": "gemma-2-9b",
    "google/gemma-2-27b": "gemma-2-27b",
    "microsoft/Phi-3-mini": "phi-3-mini",
    "microsoft/Phi-3-small": "phi-3-small",
    "microsoft/Phi-3-medium": "phi-3-medium",
    "mistralai/Mistral-7B-v0.3": "mistral-7b-v0.3",
    "mistralai/Mistral-Nemo": "mistral-nemo",
    "mistralai/Mistral-Large-2407": "mistral-large-2407",
    "codellama/CodeLlama-7b": "codellama-7b",
    "codellama/CodeLlama-13b": "codellama-13b",
    "codellama/CodeLlama-70b": "codellama-70b",
    "bigcode/starcoder2-3b": "starcoder2-3b",
    "bigcode/starcoder2-7b": "starcoder2-7b",
    "bigcode/starcoder2-15b": "starcoder2-15b",
    "google/codegemma-2b": "codegemma-2b",
    "google/codegemma-7b": "codegemma-7b",
    "EleutherAI/gpt-j-6b": "gpt-j-6b",
}
"""Config file of every row of the measured models."""


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


@pytest.mark.parametrize("name", ROUNDED_SIZES)
def test_import_is_near_a_rounded_size(name: str):
    total = count_parameters(from_huggingface(read(name))).total
    assert float(total) == pytest.approx(ROUNDED_SIZES[name], rel=1e-2)


def test_every_config_is_checked():
    fixtures = {path.stem for path in FIXTURES.glob("*.json")}
    known = {*SIZES, *ROUNDED_SIZES, *MEASURED.values(), *list_presets("models")}
    assert known == fixtures


def test_configs_of_measured_models_have_their_size(shared_data: Path):
    """Published dimensions through our equations against counts of the source."""
    with (shared_data / "models.csv").open(encoding="utf-8", newline="") as file:
        rows = {row["arch"]: row for row in csv.DictReader(file)}
    assert rows.keys() == MEASURED.keys()
    for name, row in rows.items():
        model = from_huggingface(read(MEASURED[name]))
        count = count_parameters(model)
        for part, got in (("total", count.total), ("active", count.active)):
            expected = float(row[f"params_{part}_b"]) * 1e9
            assert float(got) == pytest.approx(expected, rel=1e-3), (name, part)
        assert float(num_attention_layers(model)) == float(row["attn_layers"]), name
        assert float(model.num_window_layers) == float(row["window_layers"]), name


def test_hybrids_gate_their_attention_and_keep_a_state():
    hybrid = from_huggingface(read("qwen3.5-397b-a17b"))
    assert float(hybrid.gated_attention) == 1
    assert float(hybrid.recurrent.num_layers) == 45
    assert float(hybrid.recurrent.inner_size) == 8192
    by_interval = from_huggingface(read("qwen3-next-80b-a3b"))
    assert float(by_interval.recurrent.num_layers) == 36
    lightning = from_huggingface(read("minimax-text-01"))
    assert float(lightning.recurrent.num_layers) == 70
    assert float(lightning.recurrent.conv_size) == 0
    assert float(lightning.gated_attention) == 0


def test_keys_that_a_family_names_otherwise_are_missed_by_their_usual_name():
    config = read("gpt-j-6b")
    assert float(from_huggingface(config | {"n_inner": 8192}).ffn_size) == 8192
    del config["n_head"]
    with pytest.raises(InputError, match="num_attention_heads is missing"):
        from_huggingface(config)


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
