"""``codesign measure`` runs a real transformer on this machine's processor."""

import csv
import inspect
import re
import shlex
import time
from pathlib import Path

import pytest

import codesign
from codesign.app.measure import measure
from codesign.config.chips import chip_info, load_chip
from codesign.config.stacks import load_stack
from codesign.measure.power import PowerMeter
from tests.app.runner import answer, invoke

WATTS = 50.0
PAGE = Path(codesign.__file__).resolve().parents[1] / "docs" / "how_to" / "measure.md"
MODEL = """\
name: small
title: Small
parameters:
  hidden_size: 64
  num_layers: 2
  num_heads: 4
  num_kv_heads: 2
  head_size: 16
  ffn_size: 128
  num_ffn_matrices: 3
  vocab_size: 500
  tied_embeddings: 0
"""
FLAGS = (
    "--like=m4-max",
    "--batch=1,4",
    "--prompt-length=8",
    "--output-length=8",
    "--gemm-size=64",
    "--gemm-rows=1,16",
    "--stream-size=1 MiB",
    "--seconds=0.01",
)


def steady_meter(_: str, *, index: int) -> PowerMeter:
    """A device that always draws the same."""
    assert index >= 0
    read = time.perf_counter
    return PowerMeter(read=lambda: WATTS * read(), limit=65.0, source="test")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("measured")
    model = place / "small.yaml"
    model.write_text(MODEL, encoding="utf-8")
    out = place / "mine"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("codesign.measure.device.find_meter", steady_meter)
        done = invoke("measure", "--model", model, "--out", out, *FLAGS)
    assert done.exit_code == 0, done.output
    assert "Model against these runs" in done.output
    return out


def rows_of(file: Path) -> list[dict[str, str]]:
    with file.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def test_rows_obey_the_identities_of_the_schema(folder: Path):
    rows = rows_of(folder / "rows.csv")
    assert [row["batch"] for row in rows] == ["1", "4"]
    for row in rows:
        number = {k: float(v) for k, v in row.items() if re.fullmatch(r"[\d.e-]+", v)}
        step = number["batch"] / number["throughput_tok_s"] * 1e3
        assert number["step_ms_effective"] == pytest.approx(step)
        assert number["power_w"] == pytest.approx(WATTS, rel=0.2)
        assert number["j_per_token"] * number["throughput_tok_s"] == pytest.approx(
            number["power_w"]
        )
        assert number["itl_ms"] > 0


def test_kernels_are_written_with_their_power(folder: Path):
    rows = rows_of(folder / "kernels.csv")
    kinds = {"idle", "gemm", "gemm, zeros", "stream", "cached", "shared memory"}
    assert {row["kind"] for row in rows} == kinds
    assert all(float(row["power_w"]) == pytest.approx(WATTS, rel=0.2) for row in rows)


def test_products_of_every_format_and_number_of_rows_are_written(folder: Path):
    rows = [r for r in rows_of(folder / "kernels.csv") if r["kind"] == "gemm"]
    formats = ("float32", "bfloat16", "float8_e4m3fn")
    found = [(row["format"], row["m"]) for row in rows]
    assert found == [(name, m) for name in formats for m in ("1", "16")]
    assert {row["executed"] for row in rows} == {"f32"}  # a processor widens both
    zeros = [r for r in rows_of(folder / "kernels.csv") if r["kind"] == "gemm, zeros"]
    assert [(row["format"], row["m"]) for row in zeros] == [(n, "16") for n in formats]


def test_rows_of_products_reach_from_1_to_8192():
    default = inspect.signature(measure).parameters["gemm_rows"].default
    rows = [int(part) for part in default.split(",")]
    assert (min(rows), max(rows)) == (1, 8192)


def test_widened_products_are_no_format_of_the_chip(folder: Path):
    info = chip_info(folder / "chip.yaml").values
    assert "parameters.peak_compute_8bit" not in info
    assert float(load_chip(folder / "chip.yaml").compute.rate_8bit) == 1
    assert "float32" in info["parameters.peak_compute_16bit"].source


def test_work_too_small_for_the_meter_measures_no_energy(folder: Path):
    info = chip_info(folder / "chip.yaml").values
    for name in ("mac_energy_16bit", "bank_energy"):
        assert f"published.{name}" not in info
    stack = load_stack(folder / "stack.yaml")
    assert float(stack.compute_energy_factor) == pytest.approx(1.0, abs=0.2)


def test_chip_says_what_was_measured_and_what_was_borrowed(folder: Path):
    values = chip_info(folder / "chip.yaml").values
    for name in ("peak_compute_16bit", "dram_bandwidth", "tdp"):
        assert values[f"parameters.{name}"].status == "measured"
    assert values["parameters.node"].status == "assumed"
    assert values["parameters.node"].source == "not measured; as m4-max"
    assert float(load_chip(folder / "chip.yaml").tdp) == 65
    assert values["published.static_power"].value == pytest.approx(WATTS, rel=0.2)
    assert float(load_stack(folder / "stack.yaml").prefill_clumping) == 4


def test_other_commands_accept_the_files(folder: Path, tmp_path: Path):
    out = tmp_path / "predictions.csv"
    files = ["--rows", folder / "rows.csv", "--models", folder / "models.csv"]
    scored = answer("validate", *files, "--predictions", out)
    assert scored["rows"] == 2
    assert not scored["faults"]
    assert all(float(row["pred_itl_ms"]) > 0 for row in rows_of(out))
    flags = ["--chip", folder / "chip.yaml", "--model", folder.parent / "small.yaml"]
    lengths = ["--batch=4", "--prompt-length=8", "--output-length=8"]
    cost = answer("evaluate", *flags, *lengths)
    assert cost["time_per_output_token"] > 0


def test_unknown_device_needs_a_chip_that_is_like_it(tmp_path: Path):
    done = invoke("measure", "--model", "qwen3-8b", "--out", tmp_path / "x")
    assert done.exit_code == 2
    assert "--like" in done.stderr
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize(
    ("flag", "text"),
    [
        ("--batch=1,x", "expected whole numbers"),
        ("--precision=int4", "known: float32, bfloat16"),
        ("--output-length=1", "expected 2 or more"),
        ("--like=m4-mox", "m4-max"),
        ("--stream-size=64", "needs a unit"),
    ],
)
def test_bad_flags_are_explained(tmp_path: Path, *, flag: str, text: str):
    base = ["--model=qwen3-8b", "--like=m4-max", "--out", tmp_path / "x"]
    done = invoke("measure", *base, flag)
    assert done.exit_code == 2, done.output
    assert text in done.stderr


def test_commands_of_the_page_parse():
    text = PAGE.read_text(encoding="utf-8").replace("\\\n", " ")
    commands = re.findall(r"^codesign (.*)$", text, re.MULTILINE)
    assert len(commands) >= 3
    for command in commands:
        done = invoke(*shlex.split(command, comments=True), "--help")
        assert done.exit_code == 0, command
