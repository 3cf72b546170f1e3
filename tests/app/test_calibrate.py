"""``codesign calibrate`` and ``validate --deltas`` on runs made by the model."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from codesign.calibrate.intervals import stack_intervals
from codesign.config.stacks import load_stack, stack_info
from tests.app.runner import answer, invoke
from tests.calibrate.test_fit import TRUE, made

CONSTANTS = """\
name: few
time:
  stack.time_factor_16bit: {spread: 3.0, source: test}
  stack.sampling_traffic: {spread: 3.0, source: test}
  stack.chunked_layer_time: {spread: 3.0, source: test}
power:
  stack.compute_energy_factor: {spread: 3.0, source: test}
"""


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs of the model itself as a CSV file."""
    path = tmp_path_factory.mktemp("runs") / "rows.csv"
    lines = [
        {
            "source": "made",
            "arch": row.model,
            "task": "chat",
            "gpu": row.chip,
            "framework": "vllm",
            "framework_version": "0.11.1",
            "num_gpus": 1,
            "batch": row.batch,
            "input_len": row.prompt_length,
            "output_len": row.output_length,
            "output_len_size_biased": 1.25 * float(row.output_length),
            "mean_age_tokens": row.age,
            "itl_ms": 1e3 * float(row.inter_token_latency),
            "itl_kind": "median",
            "step_ms_effective": 1e3 * float(row.step_time),
            "power_per_gpu_w": row.power,
            "j_per_token": row.energy_per_token,
        }
        for row in made().rows
    ]
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(lines[0]))
        writer.writeheader()
        writer.writerows(lines)
    return path


@pytest.fixture(scope="module")
def few(rows: Path) -> Path:
    path = rows.parent / "few.yaml"
    path.write_text(CONSTANTS, encoding="utf-8")
    return path


def test_calibrate_writes_a_stack_that_loads(rows: Path, few: Path):
    out = rows.parent / "mine.yaml"
    done = invoke(
        "calibrate", "--rows", rows, "--chip", "H100", "--constants", few, "--out", out
    )
    assert done.exit_code == 0, done.output
    assert "4 models" in done.output
    assert "chunked_layer_time" not in done.output
    mine, shipped = load_stack(out), load_stack("vllm-0.11-h100")
    for path, move in TRUE.items():
        name = path.removeprefix("stack.")
        ratio = float(getattr(mine, name)) / float(getattr(shipped, name))
        assert ratio == pytest.approx(2.718281828**move, rel=0.03)
    assert float(mine.layer_time) == float(shipped.layer_time)
    text = out.read_text(encoding="utf-8")
    assert "--rows rows.csv" in text
    assert str(rows.parent) not in text
    assert stack_intervals(str(out))["step_time"].high < 0.05


def test_a_stack_holds_the_covariance_of_its_constants(rows: Path, few: Path):
    out = rows.parent / "mine.yaml"
    asked = ("calibrate", "--rows", rows, "--chip", "H100", "--constants", few)
    found = json.loads(invoke(*asked, "--json").stdout)
    assert invoke(*asked, "--out", out).exit_code == 0
    kept = stack_info(str(out)).fit["covariance"]
    assert list(kept) == [c["label"] for c in found["constants"]]
    whole = np.array(found["covariance"])
    assert np.linalg.eigvalsh(whole).min() > 0
    assert whole == pytest.approx(whole.T)
    for place, lower in enumerate(kept.values()):
        assert lower == pytest.approx(whole[place, : place + 1], rel=0.01)
    assert f"[{next(iter(kept.values()))[0]}]" in out.read_text(encoding="utf-8")


def test_calibrate_as_json(rows: Path, few: Path):
    done = invoke(
        "calibrate", "--rows", rows, "--chip", "H100", "--constants", few, "--json"
    )
    found = json.loads(done.stdout)
    assert {c["label"] for c in found["constants"]} == set(TRUE)
    assert not any(c["at_end"] for c in found["constants"])
    assert found["groups"][0]["scores"]["step_time"]["mean"] < 0.02


def test_calibrate_without_runs_of_the_chip(rows: Path):
    done = invoke("calibrate", "--rows", rows, "--chip", "B300")
    assert done.exit_code == 2
    assert "Chips in the file: H100" in done.output


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("time: {stack.layer_tim: {spread: 1.0}}", "Close: stack.layer_time"),
        ("time: {stack.layer_time: {spread: -1}}", "above zero"),
        ("time: {stack.layer_time: {spread: 1, prior: 3 W}}", "prior"),
        ("time: {stack.layer_time: {spred: 1}}", "Did you mean spread?"),
        ("times: {}", "Did you mean time?"),
    ],
)
def test_bad_constants_are_named(rows: Path, *, text: str, message: str):
    bad = rows.parent / "bad.yaml"
    bad.write_text(f"name: bad\n{text}\n", encoding="utf-8")
    done = invoke("calibrate", "--rows", rows, "--chip", "H100", "--constants", bad)
    assert done.exit_code == 2
    assert message in done.output
    assert "bad.yaml:2" in done.output


def test_validate_scores_ratios_and_writes_intervals(rows: Path):
    out = rows.parent / "predictions.csv"
    done = invoke("validate", "--rows", rows, "--deltas", "--predictions", out)
    assert done.exit_code == 0, done.output
    assert "batch doubled, H100" in done.output
    with out.open(encoding="utf-8", newline="") as file:
        cells = list(csv.DictReader(file))
    assert len(cells) == len(made().rows)
    for name in ("pred_itl_ms", "pred_step_ms", "pred_power_w", "pred_j_per_token"):
        for line in cells:
            low, value, high = (float(line[name + end]) for end in ("_lo", "", "_hi"))
            assert low < value < high


def test_only_runs_of_one_engine_are_fitted(rows: Path, few: Path):
    flags = ["--rows", rows, "--chip", "H100", "--constants", few]
    found = answer("calibrate", *flags, "--engine", "vllm")
    assert found["runs"] == len(made().rows)
    done = invoke("calibrate", *flags, "--engine", "sglang")
    assert done.exit_code == 2
    assert "on engine 'sglang'" in done.stderr
    assert "engines: vllm" in done.stderr


def test_constants_of_requests_need_first_tokens(rows: Path):
    flags = ["--rows", rows, "--chip", "H100", "--constants", "first_token"]
    done = invoke("calibrate", *flags)
    assert done.exit_code == 2
    assert "need ttft_ms" in done.stderr


PLAN = """\
name: two
stacks:
  first: {rows: rows.csv, chip: H100, constants: CONSTANTS}
  second: {rows: rows.csv, chip: H100, constants: CONSTANTS}
"""


def test_a_plan_writes_all_its_stacks(rows: Path, few: Path):
    plan, out = rows.parent / "two.yaml", rows.parent / "stacks"
    plan.write_text(PLAN.replace("CONSTANTS", str(few)), encoding="utf-8")
    done = invoke("calibrate", "--plan", plan, "--data", rows.parent, "--out", out)
    assert done.exit_code == 0, done.output
    for name in ("first", "second"):
        factor = float(load_stack(out / f"{name}.yaml").time_factor_16bit)
        shipped = float(load_stack("vllm-0.11-h100").time_factor_16bit)
        move = TRUE["stack.time_factor_16bit"]
        assert factor / shipped == pytest.approx(np.exp(move), rel=0.03)
    command = stack_info(str(out / "first.yaml")).fit["command"]
    assert command == "codesign calibrate --plan two.yaml --out stacks"


def test_a_plan_and_single_rows_exclude_each_other(rows: Path):
    done = invoke("calibrate", "--plan", "public", "--rows", rows, "--chip", "H100")
    assert done.exit_code == 2
    assert "leave out --rows, --chip" in done.stderr
    for more in (("--models", rows), ("--constants", "power")):
        done = invoke("calibrate", "--plan", "public", *more)
        assert f"leave out {more[0]}" in done.stderr
    assert "missing --rows and --chip" in invoke("calibrate").stderr
    lost = invoke("calibrate", "--rows", rows, "--chip", "H100", "--data", rows.parent)
    assert "give --plan too" in lost.stderr


PRODUCTS = "gpu,run,kernel_source,gemm_dtype,m,n,k,latency_us,power_w"
CACHES = (
    "gpu,run,kernel_source,phase,attn_dtype,kv_cache_dtype,batch_size,kv_len,"
    "num_heads,num_key_value_heads,head_dim,window_size,latency_us,power_w"
)
POWER = """\
name: power
power:
  stack.traffic_energy_factor: {prior: 1.0, spread: 0.3, source: test}
"""


def test_kernels_sharpen_the_prior_of_power(rows: Path):
    """Kernels that draw far less than expected pull the prior of a byte down."""
    tables = {
        "products.csv": [PRODUCTS, "H200,r,x,int3,1,32768,8192,150,200"]
        + [
            f"H200,r,x,bfloat16,1,{n},8192,{n / 215:.0f},200" for n in (3e4, 31e3, 32e3)
        ],
        "caches.csv": [CACHES]
        + [
            f"H200,r,x,generation,bfloat16,bfloat16,64,{n},64,8,128,0,{n / 16:.0f},200"
            for n in (16384, 17000, 18000)
        ],
    }
    flags: list[object] = ["--kernel-chip", "H200"]
    for name, lines in tables.items():
        (rows.parent / name).write_text("\n".join(lines) + "\n", encoding="utf-8")
        flags += ["--kernels", rows.parent / name]
    constants = rows.parent / "power.yaml"
    constants.write_text(POWER, encoding="utf-8")
    plain = ["calibrate", "--rows", rows, "--chip", "H100", "--constants", constants]
    (before,) = answer(*plain)["constants"]
    found = answer(*plain, *flags)
    (after,) = found["constants"]
    assert after["prior"] < 0.98 * before["prior"]
    assert found["kernels"]["kinds"] == ["GEMM", "decode attention"]
    assert found["kernels"]["readings"] == 6
    (fault,) = found["faults"]
    assert fault["line"] == 2
    assert "products.csv" in fault["message"]
    shown = invoke(*plain, *flags)
    assert "6 powers of single kernels on H200" in shown.output
    nothing = invoke(*plain, *flags[:1], "B200", *flags[2:])
    assert nothing.exit_code == 2
    assert "Chips with readings: H200" in nothing.stderr
