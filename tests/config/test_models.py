"""Models by name, file and table row."""

import csv
import json
from pathlib import Path

import pytest

from codesign.config.catalogue import list_aliases, list_presets
from codesign.config.models import load_model, model_from_row, model_info
from codesign.core.errors import InputError, UnknownNameError
from codesign.model.parameters import count_parameters, num_attention_layers
from tests.helpers import assert_trees_close, tree_finite

FIXTURES = Path(__file__).resolve().parents[1] / "fixtures" / "huggingface"

DENSE = """\
name: tiny
title: Tiny
parameters:
  hidden_size: 64
  num_layers: 2
  num_heads: 4
  num_kv_heads: 2
  head_size: 16
  ffn_size: 128
  num_ffn_matrices: 3
  vocab_size: 1000
  tied_embeddings: 0
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "tiny.yaml"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("name", list_presets("models"))
def test_presets_load_and_say_where_they_come_from(name: str):
    assert tree_finite(load_model(name))
    info = model_info(name)
    assert info.name == name
    assert info.title
    assert info.source
    assert info.aliases
    assert info.values["training_tokens"].source


def test_aliases_are_unique_and_never_a_name():
    names = [*list_presets("models")]
    names += [alias for name in names for alias in model_info(name).aliases]
    folded = [name.casefold() for name in names]
    assert len(folded) == len(set(folded))


def test_alias_matches_without_case():
    by_alias = load_model("META-LLAMA/llama-3.1-70b")
    assert_trees_close(by_alias, load_model("llama-3-70b"))
    assert "meta-llama/Llama-3.1-70B" in list_aliases("models")


def test_unknown_name_shows_the_nearest():
    with pytest.raises(UnknownNameError, match="llama-3-70b"):
        load_model("lama-3-70b")


def test_config_file_and_folder_are_the_same_model(tmp_path: Path):
    text = (FIXTURES / "llama-3-8b.json").read_text(encoding="utf-8")
    path = tmp_path / "config.json"
    path.write_text(text, encoding="utf-8")
    from_file = load_model(path, training_tokens=15e12)
    assert_trees_close(from_file, load_model(tmp_path, training_tokens=15e12))
    assert_trees_close(from_file, load_model("llama-3-8b"))
    assert float(load_model(path).training_tokens) == 0


def test_training_tokens_override_a_preset():
    assert float(load_model("mixtral-8x7b").training_tokens) == 0
    assert (
        float(load_model("mixtral-8x7b", training_tokens=8e12).training_tokens) == 8e12
    )


def test_broken_and_absent_json_are_input_errors(tmp_path: Path):
    path = tmp_path / "config.json"
    path.write_text('{"model_type": \n oops}', encoding="utf-8")
    with pytest.raises(InputError, match=r"config\.json:2  not valid JSON"):
        load_model(path)
    with pytest.raises(InputError, match="no such file"):
        load_model(tmp_path / "absent.json")


def test_dense_yaml_needs_no_experts_windows_or_formats(tmp_path: Path):
    model = load_model(write(tmp_path, DENSE))
    assert float(model.num_experts) == 1
    assert float(model.expert_size) == 128
    assert float(model.num_ffn_layers) == 2
    assert float(model.weight_bits) == 16


@pytest.mark.parametrize(
    ("added", "message"),
    [
        ("  num_expert: 8\n", r"tiny\.yaml:13  parameters\.num_expert: unknown key"),
        ("  num_experts: 8\n", "missing keys: num_active_experts, expert_size"),
        ("  window_size: 128 token\n", "missing key: num_window_layers"),
        ("  latent_fraction: 1\n", "missing key: latent"),
        ("  weight_bits: 4 GB\n", "parameters.weight_bits"),
        ("  num_ffn_layers: 3\n", "3 is more than num_layers, 2"),
        ("  training_tokens: -1 token\n", "-1 is not positive"),
        ("colour: blue\n", "colour: unknown key"),
    ],
)
def test_problems_of_a_file_name_place_and_remedy(
    *, tmp_path: Path, added: str, message: str
):
    with pytest.raises(InputError, match=message):
        load_model(write(tmp_path, DENSE + added))


def test_all_problems_of_a_file_come_at_once(tmp_path: Path):
    text = DENSE.replace("hidden_size", "hiden_size").replace(
        "num_heads: 4", "num_heads: 0"
    )
    with pytest.raises(InputError) as caught:
        load_model(write(tmp_path, text))
    message = str(caught.value)
    assert "Did you mean hidden_size?" in message
    assert "num_heads: 0 is not positive" in message


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "models.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_rows_of_measured_models_have_their_size(shared_data: Path):
    for row in rows(shared_data):
        count = count_parameters(model_from_row(row))
        for part, got in (("total", count.total), ("active", count.active)):
            expected = float(row[f"params_{part}_b"]) * 1e9
            assert float(got) == pytest.approx(expected, rel=1e-3), row["arch"]


def test_rows_of_measured_models_have_their_parts(shared_data: Path):
    for row in rows(shared_data):
        count = count_parameters(model_from_row(row))
        experts = float(row["params_all_experts_b"]) * 1e9
        assert float(count.experts) == pytest.approx(experts, rel=1e-4)
        table = float(row["params_lm_head_b"]) * 1e9
        assert float(count.embedding) == pytest.approx(table, rel=1e-4)
        body = count.attention + count.dense_ffn + count.shared + count.router
        # The source leaves out convolution and step of Gated DeltaNet, 0.2 %.
        assert float(body + count.recurrent) == pytest.approx(
            float(row["params_dense_body_b"]) * 1e9, rel=2e-3
        ), row["arch"]


def test_rows_of_measured_models_have_their_layers(shared_data: Path):
    for row in rows(shared_data):
        model = model_from_row(row)
        assert float(num_attention_layers(model)) == float(row["attn_layers"])
        assert float(model.num_ffn_layers) == float(row["ffn_layers"]) + float(
            row["moe_layers"]
        )


def test_rows_agree_with_the_presets(shared_data: Path):
    aliases = {key.casefold(): name for key, name in list_aliases("models").items()}
    matched = 0
    for row in rows(shared_data):
        name = aliases.get(row["arch"].casefold())
        if name is None:
            continue
        matched += 1
        preset = load_model(name)
        formats = ("weight_bits", "activation_bits", "min_attention_bits", "scale_bits")
        same = {key: getattr(preset, key) for key in (*formats, "training_tokens")}
        assert_trees_close(model_from_row(row).replace(**same), preset)
    assert matched >= 15


def test_row_problems_are_named_at_once():
    row = {"arch": "x/y", "hidden": "wide", "heads": "8", "attention": "ssm"}
    with pytest.raises(InputError) as caught:
        model_from_row(row)
    message = str(caught.value)
    for part in (
        "'x/y'",
        "hidden is 'wide'",
        "kv_heads is missing",
        "attention is 'ssm'",
    ):
        assert part in message


def test_config_of_an_unknown_family_says_so(tmp_path: Path):
    path = tmp_path / "config.json"
    path.write_text(json.dumps({"model_type": "gemma9"}), encoding="utf-8")
    with pytest.raises(InputError, match="'gemma9'"):
        load_model(path)
