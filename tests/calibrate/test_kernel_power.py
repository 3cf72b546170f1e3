"""Powers of single kernels: factors that made them are found, and sharpen priors."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from codesign.calibrate.kernel_power import (
    FACTORS,
    KernelPower,
    fit_kernel_power,
    with_kernels,
)
from codesign.calibrate.kernels import KernelPrediction, predict_kernels
from codesign.config.calibration import Constant, load_constants
from codesign.config.kernels import KernelRow, read_kernels
from codesign.core.errors import InputError

TRUE = (0.8, 0.5, 0.6)
KINDS = ("GEMM", "decode attention")


def row(kind: str, *, rows: float, width: float, power: float = 1.0) -> KernelRow:
    product = {"m": rows, "n": width, "k": 8192.0}
    cached = {
        "batch_size": rows,
        "kv_len": width,
        "num_heads": 64.0,
        "num_key_value_heads": 8.0,
        "head_dim": 128.0,
        "window_size": 0.0,
    }
    return KernelRow(
        line=2,
        kind=kind,
        chip="H200",
        software="made",
        format="bfloat16",
        weight_bits=16.0,
        activation_bits=16.0,
        kv_bits=16.0,
        shape=product if kind == "GEMM" else cached,
        duration=1.0,
        power=power,
    )


@pytest.fixture(scope="module")
def made() -> tuple[KernelPrediction, ...]:
    """Kernels that draw what the model says with the true factors."""
    sizes = [
        ("GEMM", m, n)
        for m in (1.0, 8.0, 64.0, 256.0, 8192.0)
        for n in (3e4, 3.1e4, 3.2e4, 1e5, 1.1e5, 1.2e5)
    ]
    sizes += [
        ("decode attention", batch, length)
        for batch in (16.0, 17.0, 18.0, 64.0, 65.0, 66.0)
        for length in (8192.0, 65536.0)
    ]
    rows = [row(kind, rows=r, width=w) for kind, r, w in sizes]
    done, faults = predict_kernels(rows)
    assert not faults
    return tuple(replace(p, row=drawn(p)) for p in done)


def drawn(p: KernelPrediction) -> KernelRow:
    """The kernel at its predicted time, with the power of the true factors."""
    cost, duration = p.cost, float(p.cost.duration)
    joules = cost.joules
    compute, traffic, active = TRUE
    busy = min(float(max(cost.compute, cost.memory)) / duration, 1.0)
    rest = joules.cells + joules.converter + joules.vector + joules.sram + joules.link
    watts = (
        compute * joules.compute + traffic * (joules.dram + joules.path) + rest
    ) / duration
    power = cost.still_power + active * busy * cost.active_power + watts
    return replace(
        p.row, duration=duration, power=min(float(power), float(cost.power_limit))
    )


def test_factors_that_made_the_powers_explain_them(
    made: tuple[KernelPrediction, ...],
):
    """Kinds see sums of factors, so that powers are found better than each factor."""
    found = fit_kernel_power(made, chip="H200")
    assert found.kinds == tuple(sorted(KINDS))
    assert found.error < 0.2 * found.error_before
    for factor, spread, true in zip(found.factors, found.spreads, TRUE, strict=True):
        assert abs(math.log(factor / true)) < 2 * spread
        assert spread > 0.1


def test_kernels_in_the_cache_say_nothing(made: tuple[KernelPrediction, ...]):
    small, _ = predict_kernels([row("GEMM", rows=1.0, width=256.0)] * 5)
    wild = [replace(p, row=replace(p.row, power=3000.0)) for p in small]
    before = fit_kernel_power(made, chip="H200")
    assert fit_kernel_power((*made, *wild), chip="H200") == before


def test_one_kind_is_not_enough(made: tuple[KernelPrediction, ...]):
    products = [p for p in made if p.row.kind == "GEMM"]
    with pytest.raises(InputError, match=r"of 1 kinds; 2 are needed.*H200"):
        fit_kernel_power(products, chip="H200")
    with pytest.raises(InputError, match="of 0 kinds"):
        fit_kernel_power(made, chip="B200")


def test_a_prior_meets_kernels_by_their_spreads():
    power = KernelPower(
        chip="H200",
        readings=9,
        classes=3,
        kinds=KINDS,
        factors=(2.0, 0.5, 1.0),
        spreads=(0.3, 1e9, 0.6),
        error=0.1,
        error_before=0.2,
    )
    constants = load_constants("power")
    after = {c.path: c for c in with_kernels(constants, power)}
    before = {c.path: c for c in constants}
    compute, traffic, active = (after[path] for path in FACTORS)
    assert compute.prior == pytest.approx(_prior(before[FACTORS[0]]) * math.sqrt(2.0))
    assert compute.spread == pytest.approx(0.3 / math.sqrt(2))
    assert traffic.prior == pytest.approx(_prior(before[FACTORS[1]]))
    assert traffic.spread == pytest.approx(before[FACTORS[1]].spread)
    assert active.spread == pytest.approx(0.6 / np.sqrt(2))


def _prior(constant: Constant) -> float:
    assert constant.prior is not None
    return constant.prior


def test_measured_powers_know_little_of_single_factors(shared_data: Path):
    rows = [
        each
        for name in ("gemm", "attention")
        for each in read_kernels(shared_data / f"kernels_{name}.csv").rows
        if each.power > 0 and each.chip == "H200"
    ]
    done, _ = predict_kernels(rows[::2])
    found = fit_kernel_power(done, chip="H200")
    assert found.error < found.error_before  # found .12 and .37
    assert all(0.2 < spread < 3.0 for spread in found.spreads)
