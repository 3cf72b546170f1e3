"""Rows become designs and loads of the measured window; faults keep their line."""

import csv
import math
from dataclasses import replace
from pathlib import Path

import jax
import pytest

from codesign.calibrate.predict import predict_rows
from codesign.calibrate.runs import (
    gather_runs,
    kind_of,
    row_formats,
    window_load,
)
from codesign.calibrate.validate import (
    reality_check_markdown,
    report_dict,
    report_text,
    validate,
    write_predictions,
)
from codesign.config.design import build_design
from codesign.config.models import load_model
from codesign.config.rows import read_model_rows, read_rows
from codesign.config.servers import stack_of
from codesign.config.stacks import load_stack
from codesign.core.errors import InputError
from codesign.cost.evaluate import evaluate

HEADER = (
    "source,arch,task,gpu,num_gpus,attn_tp,attn_dp,moe_ep,moe_tp,pp,weight_bits,"
    "act_precision,kv_bits,batch,input_len,output_len,output_len_size_biased,itl_ms,"
    "itl_kind,j_per_token,power_per_gpu_w,step_ms_effective,mean_age_tokens,"
    "prefills_per_step,unique_share,quality_flag"
)
DENSE = "s,{arch},chat,{gpu},1,1,1,1,1,1,16,bf16,16,64,280,400,800,{rest}"
FULL = "15,median,0.1,500,16,200,0.16,1,"
EXPERTS = "s,own/moe,chat,b200,8,1,8,8,1,1,8,fp8,16,640,300,400,,30,median,1,500,40,,,,"
MODEL_HEADER = (
    "arch,attention,attn_layers,hidden,heads,kv_heads,head_dim,ffn_dim,ffn_mats,vocab,"
    "ffn_layers,moe_layers,experts,top_k,expert_ffn"
)
OWN_DENSE = "own/dense,gqa,32,4096,32,8,128,14336,3,128256,32,0,0,0,0"
OWN_MOE = "own/moe,gqa,48,2048,32,4,128,0,3,151936,0,48,128,8,768"


def write(folder: Path, name: str, *lines: str) -> Path:
    path = folder / name
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def dense(*, arch: str = "own/dense", gpu: str = "H100", rest: str = FULL) -> str:
    return DENSE.format(arch=arch, gpu=gpu, rest=rest)


@pytest.fixture
def models(tmp_path: Path) -> Path:
    return write(tmp_path, "models.csv", MODEL_HEADER, OWN_DENSE, OWN_MOE)


def test_row_is_read_in_si(tmp_path: Path):
    row = read_rows(write(tmp_path, "rows.csv", HEADER, dense())).rows[0]
    assert row.line == 2
    assert row.inter_token_latency == pytest.approx(0.015)
    assert row.step_time == pytest.approx(0.016)
    assert row.output_variation == pytest.approx(1.0)
    assert row.age == 200.0
    assert row.median_latency


def test_missing_window_means_steady_state(tmp_path: Path):
    row = read_rows(write(tmp_path, "rows.csv", HEADER, EXPERTS)).rows[0]
    assert row.age == 200.0
    assert row.prefills_per_step == pytest.approx(1.6)
    assert row.unique_fraction == 1.0


FIXED_HEADER = (
    "model,gpu,framework,framework_version,precision,tp,pp,attn_dp,concurrency,isl,osl,"
    "ttft_ms,tpot_ms,is_inferencex,num_gpus"
)
FIXED = "llama-3-70b,H200,vllm,0.12.0,fp8,8,1,1,{batch},1024,1024,{ttft},12.7,{ix},8"


def fixed(*, batch: int = 64, ttft: str = "195", ix: str = "1") -> str:
    return FIXED.format(batch=batch, ttft=ttft, ix=ix)


def test_first_tokens_count_where_the_client_is_known(tmp_path: Path):
    lines = [fixed(), fixed(ix="0"), fixed(ttft="")]
    known, unknown, none = read_rows(
        write(tmp_path, "rows.csv", FIXED_HEADER, *lines)
    ).rows
    assert known.time_to_first_token == pytest.approx(0.195)
    assert known.burst_share == pytest.approx(0.1)
    assert math.isnan(unknown.time_to_first_token)
    assert math.isnan(none.time_to_first_token)
    assert unknown.burst_share == 0.0


def test_own_first_tokens_are_those_of_steady_state(tmp_path: Path):
    header, rest = "ttft_ms", "120"
    path = write(tmp_path, "rows.csv", f"{HEADER},{header}", f"{dense()},{rest}")
    row = read_rows(path).rows[0]
    assert row.time_to_first_token == pytest.approx(0.12)
    assert row.burst_share == 0.0


def test_share_of_a_burst_above_one_is_a_fault(tmp_path: Path):
    lines = f"{HEADER},burst_share", f"{dense()},1.5"
    (fault,) = read_rows(write(tmp_path, "rows.csv", *lines)).faults
    assert "burst_share is 1.5, above one" in fault.message


@pytest.mark.slow
def test_first_tokens_of_a_run_are_steady_ones_and_those_of_its_burst(tmp_path: Path):
    path = write(tmp_path, "rows.csv", FIXED_HEADER, fixed(), fixed(batch=4))
    report = validate(path)
    many, few = report.predictions
    runs, _ = gather_runs([p.row for p in report.predictions], {})
    assert runs is not None
    design = jax.tree.map(lambda leaf: leaf[0], runs.designs)
    design = design.replace(technology=runs.technology)
    load = jax.tree.map(lambda leaf: leaf[0], runs.loads)
    steady, at_once = (
        float(evaluate(design, load=each).time_to_first_token)
        for each in (load, load.replace(together=64.0))
    )
    assert at_once > 5 * steady
    expected = 0.9 * steady + 0.1 * at_once
    assert many.time_to_first_token == pytest.approx(expected)
    assert few.time_to_first_token < many.time_to_first_token
    out = tmp_path / "out.csv"
    write_predictions(report, out)
    with out.open(encoding="utf-8") as file:
        cells = next(iter(csv.DictReader(file)))
    assert float(cells["pred_ttft_ms"]) == pytest.approx(1e3 * expected)
    assert float(cells["measured_time_to_first_token"]) == pytest.approx(0.195)
    low, high = (float(cells[f"pred_ttft_ms_{end}"]) for end in ("lo", "hi"))
    assert low < 1e3 * expected < high


def test_without_first_tokens_none_are_predicted(tmp_path: Path, models: Path):
    report = validate(write(tmp_path, "rows.csv", HEADER, dense()), models)
    assert math.isnan(report.predictions[0].time_to_first_token)


def test_window_load_by_hand(tmp_path: Path):
    text = EXPERTS.removesuffix(",,,,") + ",50,2.4,0.25,"
    row = read_rows(write(tmp_path, "rows.csv", HEADER, text)).rows[0]
    load = window_load(row)
    assert load.sequences == 80.0
    assert load.context == 350.0
    assert load.prefills_per_step == pytest.approx(0.3)
    assert load.prompt_tokens == pytest.approx(300 * 0.25 + 16 * 0.75)
    assert load.prompt_tokens + load.hit_tokens == pytest.approx(300.0)


FORMATS = {"16": (16.0, 0.0, 0.0), "8": (8.0, 0.0, 0.0), "4.25": (4.0, 0.25, 16.0)}


@pytest.mark.parametrize("bits", FORMATS)
def test_formats_of_a_row(tmp_path: Path, bits: str):
    text = dense().replace(",16,bf16,", f",{bits},fp8,")
    formats = row_formats(read_rows(write(tmp_path, "rows.csv", HEADER, text)).rows[0])
    names = ("weight_bits", "scale_bits", "min_attention_bits")
    assert tuple(formats[name] for name in names) == FORMATS[bits]
    assert formats["activation_bits"] == 8.0


def test_steady_state_row_is_evaluate(tmp_path: Path):
    rest = "15,median,0.1,500,16,,,1,"
    rows = write(
        tmp_path, "rows.csv", HEADER, dense(arch="llama-3-8b", gpu="h100", rest=rest)
    )
    found = predict_rows(read_rows(rows).rows, {}).done[0]
    cost = evaluate(
        build_design(
            chip="h100-sxm",
            model="llama-3-8b",
            batch=64,
            prompt_length=280,
            output_length=400,
            output_variation=1.0,
        )
    )
    assert found.step_time == pytest.approx(float(cost.time_per_output_token))
    assert found.inter_token_latency == pytest.approx(float(cost.inter_token_latency))
    assert found.power == pytest.approx(float(cost.power))
    assert found.energy_per_token == pytest.approx(float(cost.energy_per_token))


def test_identity_of_power_and_energy(tmp_path: Path, models: Path):
    rows = write(tmp_path, "rows.csv", HEADER, dense(), EXPERTS)
    for p in predict_rows(read_rows(rows).rows, read_model_rows(models)).done:
        row = p.row
        energy = p.power * row.num_chips * p.step_time / row.batch
        assert p.energy_per_token == pytest.approx(energy)
        static = p.power_at_step * row.step_time - p.power * p.step_time
        between = sorted((p.power, 0.0))
        assert between[0] <= static / (row.step_time - p.step_time) <= between[1]


def test_class_of_a_model():
    assert kind_of(load_model("llama-3-8b")) == "dense 16-bit"
    assert kind_of(load_model("gpt-oss-20b")) == "MoE low-precision"


def test_unpredictable_rows_keep_their_line(tmp_path: Path, models: Path):
    lines = [
        dense(),
        dense(gpu="H10O"),
        dense(arch="own/dens"),
        dense().replace(",64,280,", ",many,280,"),
        dense().replace("H100,1,1,", "H100,4,3,"),
        dense(gpu="b200 SXM"),
    ]
    report = validate(write(tmp_path, "rows.csv", HEADER, *lines), models)
    assert [p.row.line for p in report.predictions] == [2, 7]
    messages = {fault.line: fault.message for fault in report.faults}
    assert list(messages) == [3, 4, 5, 6]
    assert "H100" in messages[3]
    assert "own/dense" in messages[4]
    assert "batch is 'many'" in messages[5]
    assert "attn_tp 3" in messages[6]
    assert all(f"line {line}: " in report_text(report) for line in messages)
    assert [fault["line"] for fault in report_dict(report)["faults"]] == [3, 4, 5, 6]


def test_no_predictable_row_is_an_error(tmp_path: Path, models: Path):
    rows = write(tmp_path, "rows.csv", HEADER, dense(gpu="nothing"))
    with pytest.raises(InputError, match=r"no row can be predicted\.\n  line 2: "):
        validate(rows, models)


def test_missing_columns_and_files_are_named(tmp_path: Path):
    with pytest.raises(InputError, match="columns are missing: batch, input_len"):
        read_rows(write(tmp_path, "rows.csv", "arch,gpu,num_gpus,output_len"))
    with pytest.raises(InputError, match="no such file"):
        read_rows(tmp_path / "absent.csv")
    twice = write(tmp_path, "models.csv", MODEL_HEADER, OWN_MOE, OWN_MOE)
    with pytest.raises(InputError, match=r"models\.csv:3 .*two rows"):
        read_model_rows(twice)


def test_predictions_file_holds_every_line(tmp_path: Path, models: Path):
    lines = [dense(), dense(gpu="nothing"), EXPERTS]
    report = validate(write(tmp_path, "rows.csv", HEADER, *lines), models)
    out = tmp_path / "out.csv"
    write_predictions(report, out)
    written = read_cells(out)
    assert [cells["line"] for cells in written] == ["2", "3", "4"]
    assert "nothing" in written[1]["fault"]
    error = float(written[0]["error_step_time"])
    ratio = float(written[0]["predicted_step_time"]) / 0.016
    assert error == pytest.approx(ratio - 1)


def read_cells(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_report_has_tables_and_json(tmp_path: Path, models: Path):
    lines = [dense(), EXPERTS, dense(rest="15,median,,500,16,200,0.16,1,low_power")]
    report = validate(write(tmp_path, "rows.csv", HEADER, *lines), models)
    found = report_dict(report)
    flagged = [g for g in found["groups"] if g["flagged"]]
    assert flagged[0]["scores"]["energy_per_token"]["mean"] is None
    assert found["rows"] == 3
    text = reality_check_markdown(report)
    assert "| 1 x H100 | dense | 16 |" in text
    assert "| 8 x b200 | moe | 8 |" in text
    assert not math.isnan(found["groups"][0]["scores"]["power"]["mean"])


def test_mean_latency_is_held_against_the_mean_step(tmp_path: Path, models: Path):
    rows = write(
        tmp_path,
        "rows.csv",
        HEADER,
        dense(),
        dense(rest=FULL.replace("median", "mean_tpot")),
    )
    median, mean = predict_rows(read_rows(rows).rows, read_model_rows(models)).done
    assert mean.inter_token_latency == mean.step_time
    assert median.inter_token_latency < median.step_time


def test_tables_of_latency_at_fixed_lengths_are_read(tmp_path: Path):
    """Columns isl, osl, tp, concurrency, tpot_ms and the name of a precision."""
    header = "arch,gpu,num_gpus,tp,concurrency,isl,osl,tpot_ms,precision"
    rows = "llama-3-8b,H100,2,2,32,1000,500,12.5,fp8\n"
    (row,) = read_rows(write(tmp_path, "rows.csv", header, rows)).rows
    assert (row.batch, row.prompt_length, row.output_length) == (32, 1000, 500)
    assert row.tensor_parallel == 2
    assert row.inter_token_latency == pytest.approx(12.5e-3)
    assert not row.median_latency
    assert (row.weight_bits, row.activation_bits) == (8, 8)
    assert row.age == pytest.approx(250)
    assert math.isnan(row.step_time)


@pytest.mark.parametrize(
    ("chip", "framework", "stack"),
    [
        ("h100-sxm", "vllm 0.11.1", "vllm-0.11-h100"),
        ("h100-sxm", "vllm 0.5.4", "vllm-0.5-h100"),
        ("b200", "vllm 0.5.4", "vllm-0.5-a100"),
        ("h100-sxm", "sglang 0.5.9", "tuned-hopper"),
        ("H200", "vllm 0.12.0", "tuned-hopper"),
        ("b200", "vllm 0.11.1", "vllm-0.11-b200"),
        ("b200", "vllm nightly-5b8c30d6", "tuned-b200"),
        ("b200", "vllm ", "vllm-0.11-b200"),
        ("mi300x", "vllm 0.19.0", "gpu-default"),
        ("h100-sxm", "", "vllm-0.11-h100"),
    ],
)
def test_software_of_another_version_has_its_own_stack(
    tmp_path: Path, *, chip: str, framework: str, stack: str
):
    line = dense(arch="llama-3-8b", gpu=chip)
    (row,) = read_rows(write(tmp_path, "rows.csv", HEADER, line)).rows
    assert stack_of(replace(row, framework=framework)) == stack


LATENCY = "arch,gpu,framework,num_gpus,tp,concurrency,isl,osl,tpot_ms,precision,"
LATENCY += "gemm_quant,is_inferencex"


def test_runs_of_a_public_benchmark_have_what_its_recipes_say(tmp_path: Path):
    """Cache of 8 bit, lengths from 0.8 to 1 of the nominal ones, the tuned stack."""
    lines = ["llama-3-8b,H100,vllm,2,2,32,1000,500,12.5,fp8,fp8,1"]
    lines += ["llama-3-8b,H100,vllm,2,2,32,1000,500,12.5,fp8,fp8,0"]
    lines += ["llama-3-8b,H100,vllm,2,2,32,1000,500,12.5,bf16,,1"]
    known, other, wide = read_rows(write(tmp_path, "r.csv", LATENCY, *lines)).rows
    assert (known.kv_bits, other.kv_bits, wide.kv_bits) == (8, 16, 16)
    assert (known.prompt_length, known.output_length) == (900, 450)
    assert (other.prompt_length, other.output_length) == (1000, 500)
    assert stack_of(known) == stack_of(other) == "tuned-hopper"


def test_weights_scaled_by_block_are_a_class_of_their_own(tmp_path: Path):
    """Slower kernels, no more bytes; the label or the publisher tells."""
    names = ("fp8", "fp8_block")
    lines = [f"llama-3-8b,H100,vllm,1,1,8,1000,500,12.5,fp8,{name},1" for name in names]
    rows = read_rows(write(tmp_path, "rows.csv", LATENCY, *lines)).rows
    plain, block = predict_rows(rows, {}).done
    stack = load_stack("tuned-hopper")
    slower = float(stack.time_factor_8bit_block) / float(stack.time_factor_8bit)
    assert 1 < block.step_time / plain.step_time < slower
    assert block.memory_fraction == plain.memory_fraction
    own = "deepseek-ai/DeepSeek-V3,H100,vllm,8,8,8,1000,500,12.5,fp8,fp8,1"
    (row,) = read_rows(write(tmp_path, "own.csv", LATENCY, own)).rows
    assert row.block_scaled


STATIC = "source,accelerator,num,framework,model,precision,input_len,output_len,batch,"
STATIC += "latency_s,power_w"


def test_static_batches_are_runs_whose_step_holds_the_prompt(tmp_path: Path):
    path = tmp_path / "static.csv"
    lines = ["s,AMD MI300X,2,vLLM,llama-3-8b,fp16/bf16,128,256,16,5.12,600"]
    lines += ["s,AMD MI300X,2,vLLM,llama-3-8b,fp16/bf16,128,,16,5.12,600"]
    path.write_text("\n".join([STATIC, *lines]) + "\n", encoding="utf-8")
    given = read_rows(path)
    (row,) = given.rows
    assert (row.chip, row.num_chips, row.model) == ("AMD MI300X", 2, "llama-3-8b")
    assert float(row.step_time) == pytest.approx(5.12 / 256)
    assert float(row.inter_token_latency) == pytest.approx(5.12 / 256)
    assert not row.median_latency
    assert float(row.power) == 300
    assert float(row.energy_per_token) == pytest.approx(600 * 5.12 / (16 * 256))
    assert float(row.prefills_per_step) == 16 / 256
    assert "output_len" in given.faults[0].message
    (done,) = predict_rows(given.rows, {}).done
    assert float(done.step_time) > 0
