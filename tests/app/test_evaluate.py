"""``codesign evaluate``: tables, JSON in SI, files, and designs that do not fit."""

import json
from pathlib import Path

import jax
import numpy as np
import pytest

from codesign.config.design import build_design, load_design
from codesign.core.paths import get_path, path_units
from codesign.cost.evaluate import evaluate
from codesign.cost.record import Cost
from tests.app.runner import DESIGN, answer, invoke
from tests.helpers import assert_trees_close

LLAMA = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_size": 4096,
    "intermediate_size": 14336,
    "num_attention_heads": 32,
    "num_hidden_layers": 32,
    "num_key_value_heads": 8,
    "tie_word_embeddings": False,
    "torch_dtype": "bfloat16",
    "vocab_size": 128256,
}


@pytest.fixture(scope="module")
def cost() -> Cost:
    design = build_design(
        chip="h100-sxm",
        num_chips=8,
        model="llama-3-70b",
        tensor_parallel=8,
        batch=64,
        prompt_length=1024,
        output_length=256,
    )
    return jax.device_get(evaluate(design))


def test_json_holds_every_field_of_cost_in_si(cost: Cost):
    data = answer("evaluate", *DESIGN)
    for path in path_units(Cost):
        value = data
        for name in path.split("."):
            value = value[name]
        np.testing.assert_allclose(value, get_path(cost, path), rtol=1e-9)
    assert data["inputs"]["chip"]["dram"]["bandwidth"] == 3.35e12
    assert data["violated"] == {}
    assert {"codesign", "jax", "python"} <= data["versions"].keys()


def test_table_names_metrics_with_units_and_bottlenecks():
    done = invoke("evaluate", *DESIGN)
    assert done.exit_code == 0, done.stderr
    for text in (
        "time to first token",
        "J/token",
        "USD/Mtoken",
        "gCO2e",
        "USD/h",
        "up to the server",
        "Utilisation 100 %",
        "Memory per chip",
        "decode step",
        "prompt step",
        "ffn in",
        "waits for",
        "dram",
    ):
        assert text in done.stdout


def test_doubtful_values_of_the_chip_are_listed():
    """Groq 3 is announced, its power assumed; the bandwidth of an H100 is verified."""
    flags = ["--chip", "groq3", "--num-chips", "64", "--model", "llama-3-8b"]
    flags += ["--batch", "1", "--prompt-length", "64", "--output-length", "32"]
    flags += ["--set", "model.weight_bits=8"]
    shown = invoke("evaluate", *flags).stdout
    assert "Announced, recalled or assumed values of NVIDIA Groq 3" in shown
    doubts = answer("evaluate", *flags)["unsure"]
    assert doubts["parameters.tdp"]["status"] == "assumed"
    assert doubts["parameters.sram_bandwidth"]["status"] == "announced"
    assert doubts["parameters.tdp"]["value"] == 600.0
    for path in doubts:
        assert path.removeprefix("parameters.") in shown.replace("\n", "")
    known = answer("evaluate", *DESIGN)["unsure"]
    assert "parameters.dram_bandwidth" not in known
    assert known["system.outer_bandwidth"]["status"] == "recalled"


def test_a_design_file_says_that_it_keeps_no_sources(tmp_path: Path):
    path = tmp_path / "design.yaml"
    assert invoke("evaluate", *DESIGN, "--out", str(path)).exit_code == 0
    again = invoke("evaluate", str(path))
    assert "does not keep which values of its chip" in again.stdout
    assert answer("evaluate", str(path))["unsure"] is None


def test_every_time_power_and_energy_has_an_interval():
    """From unseen models where the stack was fitted, else wide and assumed."""
    fitted = answer("evaluate", *DESIGN)
    other = answer("evaluate", *DESIGN, "--stack", "gpu-default")
    for data in (fitted, other):
        for name, ends in data["intervals"].items():
            assert ends["low"] < data[name] < ends["high"], name
    assert not fitted["intervals"]["energy_per_token"]["assumed"]
    assert fitted["intervals"]["time_to_first_token"]["assumed"]
    assert all(ends["assumed"] for ends in other["intervals"].values())
    shown = invoke("evaluate", *DESIGN).stdout
    assert "Prediction and measurement" in shown
    assert "unseen models" in shown


def test_set_changes_one_parameter():
    data = answer("evaluate", *DESIGN, "--set", "chip.dram.bandwidth=4.8 TB/s")
    assert data["inputs"]["chip"]["dram"]["bandwidth"] == 4.8e12


def test_rate_instead_of_batch():
    flags = [flag for flag in DESIGN if not flag.startswith("--batch")]
    data = answer("evaluate", *flags, "--rate", "2 req/s")
    assert data["throughput"] == pytest.approx(2 * 256, rel=0.03)


def test_written_design_is_the_same_design(tmp_path: Path):
    file = tmp_path / "design.yaml"
    first = answer("evaluate", *DESIGN, "--power-limit", "500 W", "--out", file)
    again = answer("evaluate", file)
    assert again["energy_per_token"] == pytest.approx(first["energy_per_token"])
    assert float(load_design(file).deployment.power_limit) == 500.0
    changed = answer("evaluate", file, "--batch", 32, "--stack", "ideal")
    assert changed["batch"] == 32
    assert changed["inputs"]["stack"]["layer_time"] == 0


def test_chip_flag_beside_a_design_file_is_refused(tmp_path: Path):
    file = tmp_path / "design.yaml"
    answer("evaluate", *DESIGN, "--out", file)
    done = invoke("evaluate", file, "--chip", "h200-sxm")
    assert done.exit_code == 2
    assert "--set chip." in done.stderr


def test_written_json_is_what_is_printed(tmp_path: Path):
    file = tmp_path / "cost.json"
    printed = answer("evaluate", *DESIGN, "--out", file)
    assert json.loads(file.read_text(encoding="utf-8")) == printed
    assert [path.name for path in tmp_path.iterdir()] == ["cost.json"]


def test_model_may_be_a_huggingface_config(tmp_path: Path):
    config = tmp_path / "config.json"
    config.write_text(json.dumps(LLAMA), encoding="utf-8")
    data = answer("evaluate", *DESIGN, "--model", config)
    assert data["inputs"]["model"]["num_kv_heads"] == 8


def test_design_that_does_not_fit_names_sizes_and_fixes():
    flags = ["--num-chips=1", "--tensor-parallel=1"]
    done = invoke("evaluate", *DESIGN, *flags, "--json")
    assert done.exit_code == 3
    assert "Does not fit: weights 141 GB + KV" in done.stderr
    assert "--num-chips 4" in done.stderr
    data = json.loads(done.stdout)
    assert data["violated"]["memory"] > 1
    fixed = ["--num-chips=4", "--tensor-parallel=4"]
    assert invoke("evaluate", *DESIGN, *fixed, "--json").exit_code == 0


def test_rate_that_cannot_be_served_names_the_one_that_can():
    flags = [flag for flag in DESIGN if not flag.startswith("--batch")]
    done = invoke("evaluate", *flags, "--rate", "400 req/s", "--json")
    assert done.exit_code == 3
    rate = done.stderr.partition('--rate "')[2].partition('"')[0]
    assert invoke("evaluate", *flags, "--rate", rate, "--json").exit_code == 0


def test_every_fix_of_memory_is_enough():
    design = [*DESIGN, "--batch=3000"]
    message = invoke("evaluate", *design, "--json").stderr
    fixes = message.partition("Enough by itself: ")[2].rstrip(".\n").split("; or ")
    assert len(fixes) >= 3
    for fix in fixes:
        words = fix.replace('"', "").split(" ", 1)
        flags = [w for part in fix.split("--")[1:] for w in _flag(part)]
        assert invoke("evaluate", *design, *flags, "--json").exit_code == 0, words


def _flag(text: str) -> list[str]:
    name, _, value = text.strip().partition(" ")
    return [f"--{name}", value.replace('"', "")]


def test_limit_that_only_a_fab_would_miss_is_a_warning():
    done = invoke("evaluate", *DESIGN, "--set", "chip.tdp=3000 W")
    assert done.exit_code == 0
    assert "Warning: " in done.stderr
    assert "power_density" in done.stderr
    assert "Limits that are broken" in done.stdout


def test_command_is_the_library_call(cost: Cost, tmp_path: Path):
    file = tmp_path / "design.yaml"
    answer("evaluate", *DESIGN, "--out", file)
    assert_trees_close(jax.device_get(evaluate(load_design(file))), cost, rtol=1e-6)
