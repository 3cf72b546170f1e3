"""Number formats: free at 16 bit, priced exponentially below, as published."""

import csv
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

from codesign.model.transformer import Transformer
from codesign.quality.capacity import law_size
from codesign.quality.constants import QualityConstants
from codesign.quality.evaluate import loss
from codesign.quality.precision import precision


def price(model: Transformer, constants: QualityConstants, **bits: float):
    changed = model.replace(**{name: jnp.asarray(b) for name, b in bits.items()})
    return precision(changed, constants.precision, size=law_size(changed))


def test_16_bit_costs_exactly_nothing(
    *, constants: QualityConstants, small: Transformer
):
    parts = price(small, constants)
    for value in (parts.weights, parts.activations, parts.kv):
        assert float(value) == 0.0


def test_uniform_weights_pay_the_published_law(
    *, constants: QualityConstants, small: Transformer
):
    """0.15 (15/2)^0.48 0.034 2^(-2 (b - 4)) at 4.156 effective bits."""
    found = price(small, constants, weight_bits=4.0, scale_bits=0.156).weights
    expected = 0.15 * 7.5**0.48 * 0.034 * 2.0 ** (-2.0 * 0.156)
    assert float(found) == pytest.approx(expected, rel=1e-6)


def test_wider_attention_and_narrow_head_both_show(
    *, constants: QualityConstants, small: Transformer
):
    narrow = {"weight_bits": 4.0}
    base = float(price(small, constants, **narrow).weights)
    kept = float(price(small, constants, **narrow, min_attention_bits=16.0).weights)
    head = float(price(small, constants, **narrow, head_bits=4.0).weights)
    assert 0.7 * base < kept < base
    assert base < head < 1.2 * base


@pytest.mark.parametrize("field", ["weight_bits", "activation_bits", "kv_bits"])
def test_more_bits_are_never_worse(
    *, constants: QualityConstants, small: Transformer, field: str
):
    widths = np.arange(1.0, 16.5, 0.5)
    levels = [
        loss(small.replace(**{field: jnp.asarray(bits)}), constants)[0]
        for bits in widths
    ]
    assert np.all(np.diff(levels) < 0)


def test_one_bit_less_costs_about_four_times_more(
    *, constants: QualityConstants, small: Transformer
):
    four, three = (
        float(price(small, constants, weight_bits=bits, scale_bits=0.0).weights)
        for bits in (4.0, 3.0)
    )
    assert three / four == pytest.approx(4.0, rel=1e-3)


def test_16_bit_models_always_gain_from_data(
    *, constants: QualityConstants, small: Transformer
):
    tokens = np.geomspace(1e11, 30e12, 40)
    levels = [
        loss(small.replace(training_tokens=jnp.asarray(d)), constants)[0]
        for d in tokens
    ]
    assert np.all(np.diff(levels) < 0)


def test_3_bit_models_have_a_finite_best_amount_of_data(
    *, constants: QualityConstants, small: Transformer
):
    tokens = np.geomspace(1e11, 1e15, 200)
    rounded = small.replace(weight_bits=jnp.asarray(3.0), scale_bits=jnp.asarray(0.0))
    levels = [
        float(loss(rounded.replace(training_tokens=jnp.asarray(d)), constants)[0])
        for d in tokens
    ]
    assert 2e12 < tokens[int(np.argmin(levels))] < 15e12


def published_rows(shared_data: Path) -> list[dict[str, str]]:
    path = shared_data / "quantization_ppl.csv"
    if not path.is_file():
        pytest.skip("published perplexities absent: no quantization_ppl.csv")
    with path.open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    return [
        row
        for row in rows
        if row["metric"] == "wikitext2 ppl"
        and row["model"].lower().startswith("llama")
        and row["dnll"]
        and 0.0015 < float(row["dnll"]) < 0.8
    ]


def regression(
    rows: list[dict[str, str]], methods: list[str], *, bits: str
) -> tuple[float, float]:
    """(bits per e-fold, exponent of tokens) with one constant per method."""
    matrix = [
        [float(row["method"] == method) for method in methods]
        + [
            np.log(float(row["tokens_t"]) / 2.0),
            np.log(float(row["params_b"]) / 7.0),
            4.0 - float(row[bits]),
        ]
        for row in rows
    ]
    target = np.log([float(row["dnll"]) for row in rows])
    solution = np.linalg.lstsq(np.asarray(matrix), target, rcond=None)[0]
    return 1.0 / solution[-1], solution[-3]


def test_weight_constants_match_published_perplexities(
    *, constants: QualityConstants, shared_data: Path
):
    rows = [
        row
        for row in published_rows(shared_data)
        if row["kind"] == "ptq" and row["bits_a"] == row["bits_kv"] == "16"
    ]
    for row in rows:
        imatrix = "+imatrix" if "imatrix" in row["method"] else ""
        row["method"] = row["method"].split("(")[0].split()[0] + imatrix
    efold, exponent = regression(
        rows, sorted({row["method"] for row in rows}), bits="bpw_eff"
    )
    assert len(rows) > 200
    assert 0.66 < efold < 0.78
    assert 0.38 < exponent < 0.60
    assert efold == pytest.approx(float(constants.precision.bits_per_efold), abs=0.06)
    assert exponent == pytest.approx(float(constants.precision.token_exponent), abs=0.1)


def test_kv_constants_match_published_perplexities(
    *, constants: QualityConstants, shared_data: Path
):
    rows = [row for row in published_rows(shared_data) if row["format"] == "kv"]
    efold, exponent = regression(
        rows, sorted({row["method"] for row in rows}), bits="bits_kv"
    )
    assert len(rows) > 100
    assert efold == pytest.approx(
        float(constants.precision.kv_bits_per_efold), abs=0.06
    )
    assert exponent == pytest.approx(
        float(constants.precision.kv_token_exponent), abs=0.16
    )
