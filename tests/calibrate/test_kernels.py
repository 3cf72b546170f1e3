"""Single kernels: limits that arithmetic gives, known rates, measured tables."""

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from codesign.calibrate.kernel_fit import fit_kernels
from codesign.calibrate.kernels import (
    KernelPrediction,
    duration_score,
    kernel_groups,
    power_score,
    predict_kernels,
)
from codesign.config.chips import load_chip
from codesign.config.kernels import KernelRow, read_kernels
from codesign.config.stacks import load_stack
from codesign.core.errors import InputError
from tests.app.runner import invoke

HEADERS = {
    "gemm": "gpu,run,kernel_source,gemm_dtype,m,n,k,latency_us,power_w",
    "attention": "gpu,run,phase,attn_dtype,kv_cache_dtype,batch_size,kv_len,num_heads,"
    "num_key_value_heads,head_dim,window_size,latency_us",
    "moe": "gpu,run,kernel_source,moe_dtype,num_tokens,hidden_size,inter_size,topk,"
    "num_experts,moe_tp_size,moe_ep_size,distribution,latency_us",
    "comm": "gpu,run,kernel_source,op,dtype,num_gpus,bytes,latency_us",
    "operator": "gpu,op,d1,d2,d3,latency_us",
}
LINES = {
    "gemm": [
        "H100,r,x,bfloat16,1,65536,16384,700,650",
        "H100,r,x,bfloat16,8192,16384,16384,7000,",
        "H100,r,x,fp8,1,65536,16384,350,",
        "H100,r,x,bfloat16,1,128,128,4,",
    ],
    "attention": [
        "H100,r,generation,bfloat16,bfloat16,64,32768,64,8,128,0,3000",
        "H100,r,generation,bfloat16,fp8,64,32768,64,8,128,0,1500",
        "H100,r,generation,bfloat16,bfloat16,64,32768,64,8,128,128,30",
        "H100,r,context,bfloat16,bfloat16,4,16384,32,8,128,0,30000",
    ],
    "moe": [
        "H100,r,fused,bfloat16,8192,2048,768,8,128,1,1,balanced,5000",
        "H100,r,nongated,bfloat16,8192,2048,768,8,128,1,1,balanced,5000",
        "H100,r,fused,bfloat16,1,2048,768,8,128,1,1,balanced,60",
    ],
    "comm": [
        "H100,r,NCCL,all_reduce,bfloat16,8,1e9,4000",
        "H100,r,NCCL,reduce_scatter,bfloat16,8,1e9,2000",
    ],
    "operator": ["A100,matmul_fp16,64,12288,12288,190", "A100,gelu,1e9,,,3000"],
}
H100 = 3.35e12
OFTEN = 8  # one of so many rows of the measured tables is enough for a test


def table(folder: Path, kind: str, *, extra: tuple[str, ...] = ()) -> Path:
    path = folder / f"{kind}.csv"
    lines = [HEADERS[kind], *LINES[kind], *extra]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def predicted(folder: Path, kind: str) -> list[KernelPrediction]:
    given = read_kernels(table(folder, kind))
    assert not given.faults
    done, faults = predict_kernels(given.rows)
    assert not faults
    return list(done)


def seconds(prediction: KernelPrediction) -> float:
    return float(prediction.cost.duration)


def test_products_are_bytes_or_arithmetic_and_a_launch(tmp_path: Path):
    long, square, narrow, small = predicted(tmp_path, "gemm")
    stack, chip = load_stack("vllm-0.11-h100"), load_chip("H100")
    launch = float(stack.kernel_time) / 0.6
    weights = 65536 * 16384 * 2
    moved = weights / (H100 * float(stack.dram_efficiency))
    assert seconds(long) == pytest.approx(moved + launch, rel=0.01)
    assert seconds(narrow) == pytest.approx(moved / 2 + launch, rel=0.01)
    assert seconds(small) == pytest.approx(launch, rel=0.05)
    peak = 2 * 8192 * 16384**2 / 989e12
    assert peak / 0.95 < seconds(square) < peak / 0.7
    assert [p.bound for p in (long, square, small)] == ["memory", "compute", "fixed"]
    assert float(square.cost.power) <= float(chip.tdp) * (1 + 1e-6)
    assert float(square.cost.power) > float(long.cost.power)


def test_decode_attention_reads_its_cache(tmp_path: Path):
    full, narrow, near, context = predicted(tmp_path, "attention")
    stack = load_stack("vllm-0.11-h100")
    cache = 64 * 32768 * 2 * 8 * 128 * 2
    expected = cache / (H100 * float(stack.dram_efficiency))
    assert seconds(full) == pytest.approx(expected, rel=0.01)
    assert seconds(narrow) == pytest.approx(expected / 2, rel=0.02)
    assert seconds(near) < 0.02 * seconds(full)
    flops = 4 * 4 * 16384 * 8192 * 32 * 128
    slower = float(stack.prompt_attention_factor)
    assert slower > 1
    assert seconds(context) > slower * flops / 989e12


def test_experts_load_what_they_touch(tmp_path: Path):
    many, plain, few = predicted(tmp_path, "moe")
    matrix = 2048 * 768 * 2
    stored = float(many.cost.stored)
    assert stored == pytest.approx(128 * 3 * matrix, rel=1e-3)
    assert float(plain.cost.stored) == pytest.approx(stored * 2 / 3, rel=1e-3)
    assert float(few.cost.stored) == pytest.approx(8 * 3 * matrix)


def test_collectives_and_elementwise_kernels_move_their_bytes(tmp_path: Path):
    reduce, scatter = predicted(tmp_path, "comm")
    stack = load_stack("vllm-0.11-h100")
    sent = 2 * 7 / 8 * 1e9 / (450e9 * float(stack.link_efficiency))
    assert seconds(reduce) == pytest.approx(sent, rel=0.01)
    assert seconds(scatter) == pytest.approx(sent / 2, rel=0.01)
    product, gelu = predicted(tmp_path, "operator")
    assert product.row.chip == "a100-sxm-80gb"
    assert product.row.shape == {"m": 64.0, "n": 12288.0, "k": 12288.0}
    assert seconds(gelu) == pytest.approx(4e9 / 2.039e12, rel=0.25)


def test_lines_that_cannot_be_used_are_named(tmp_path: Path):
    bad = ("H100,r,x,int3,1,64,64,4,", "H100,r,x,bfloat16,one,64,64,4,")
    given = read_kernels(table(tmp_path, "gemm", extra=bad))
    assert [fault.line for fault in given.faults] == [6, 7]
    assert "int3" in given.faults[0].message
    unknown = table(tmp_path, "gemm", extra=("Z9,r,x,bfloat16,1,64,64,4,",))
    _, faults = predict_kernels(read_kernels(unknown).rows)
    assert "Z9" in faults[0].message
    odd = tmp_path / "odd.csv"
    odd.write_text("gpu,latency_us\n", encoding="utf-8")
    with pytest.raises(InputError, match="no column tells the kind"):
        read_kernels(odd)


def test_rates_that_made_the_times_are_found_again(tmp_path: Path):
    sizes = [(n, k) for n in (512, 4096, 16384) for k in (2048, 8192, 32768)]
    lines = tuple(
        f"H100,made,x,bfloat16,{m},{n},{k},1," for m in (1, 64, 8192) for n, k in sizes
    )
    done, _ = predict_kernels(read_kernels(table(tmp_path, "gemm", extra=lines)).rows)
    made = [p for p in done if p.row.software == "made"]
    truth = {"compute": 1.3, "memory": 1.1, "fixed": 2.0}
    exposed, loop = 0.2, 0.05e-9

    def slower(p: KernelPrediction) -> KernelRow:
        part = {name: f * float(getattr(p.cost, name)) for name, f in truth.items()}
        both = part["compute"], part["memory"]
        roof = max(both) + exposed * min(both)
        in_turn = loop * p.row.shape["k"]
        return replace(p.row, duration=part["fixed"] + roof + in_turn)

    (fit,) = fit_kernels([replace(p, row=slower(p)) for p in made])
    for name, factor in truth.items():
        assert getattr(fit, name) == pytest.approx(factor, rel=0.01), name
    assert fit.exposed == pytest.approx(exposed, abs=0.02)
    assert fit.loop_time == pytest.approx(loop, rel=0.05)
    assert fit.unseen.mean < 0.01


MEDIANS = {  # chip, kind, format -> bound on the median error as shipped
    ("H100", "GEMM", "bfloat16"): 0.09,  # found .056 (TensorRT-LLM), .069 (vLLM)
    ("H200", "GEMM", "bfloat16"): 0.12,  # found .086
    ("H100", "decode attention", "bfloat16"): 0.16,  # found .121
    ("H200", "decode attention", "bfloat16"): 0.17,  # found .131
    ("H200", "experts", "bfloat16"): 0.28,  # found .213
}


def test_measured_kernels_are_predicted_without_a_fit(shared_data: Path):
    rows: list[KernelRow] = []
    for name in ("gemm", "attention", "moe"):
        given = read_kernels(shared_data / f"kernels_{name}.csv")
        assert not given.faults
        rows += given.rows[::OFTEN]
    done, faults = predict_kernels(rows)
    assert not faults
    groups = kernel_groups(done)
    for (chip, kind, form), bound in MEDIANS.items():
        found = [g for g in groups if (g.chip, g.kind, g.format) == (chip, kind, form)]
        assert found
        assert max(g.duration.median for g in found) < bound, (chip, kind)
    served = [p for p in done if p.row.kind == "experts" and p.row.chip == "H200"]
    assert power_score(served).median < 0.1  # found .03 to .06
    assert np.isfinite(duration_score(done).mean)


def test_command_scores_kernels_alone(tmp_path: Path):
    files = ["--kernels", table(tmp_path, "gemm"), "--kernels", table(tmp_path, "moe")]
    done = invoke("validate", *files, "--json")
    assert done.exit_code == 0, done.output
    data = json.loads(done.stdout)["kernels"]
    assert data["rows"] == 7
    assert {group["kind"] for group in data["groups"]} == {"GEMM", "experts"}
    assert "Single kernels" in invoke("validate", *files).stdout
    nothing = invoke("validate")
    assert nothing.exit_code == 2
    assert "--kernels" in nothing.stderr


def test_headers_are_those_of_the_measured_tables(shared_data: Path):
    for kind in ("gemm", "attention", "moe", "comm"):
        file = shared_data / f"kernels_{kind}.csv"
        with file.open(encoding="utf-8", newline="") as stream:
            assert set(HEADERS[kind].split(",")) <= set(next(csv.reader(stream)))
