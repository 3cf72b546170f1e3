"""Rules between counts: what they hold for, and what a study says of them."""

from pathlib import Path

import numpy as np
import pytest

from codesign.config.bounds import legal_values
from codesign.config.couplings import (
    RULES,
    Presolved,
    Rule,
    first_legal,
    presolve,
)
from codesign.config.design import build_design
from codesign.config.faults import design_faults
from codesign.config.study import load_study
from codesign.core.errors import InputError
from codesign.core.paths import set_path
from codesign.optimize.space import build_space, presolved_lines
from tests.optimize.studies import load_small

TEXT = """\
baseline:
  {{chip: h100-sxm, num_chips: 8, model: llama-3-70b, tensor_parallel: 8, batch: 64}}
request: {{prompt_length: 1024, output_length: 256}}
free:
  chip.tdp: {{min: 300 W, max: 900 W}}
{free}
minimize: energy_per_token_server
{more}
"""


def study_with(folder: Path, *free: str, more: str = ""):
    path = folder / "tied.yaml"
    text = TEXT.format(free="\n".join(f"  {line}" for line in free), more=more)
    path.write_text(text, encoding="utf-8")
    return load_study(path)


def kept(name: str, *values: float) -> bool:
    (rule,) = [rule for rule in RULES if rule.name == name]
    return bool(rule.kept(dict(zip(rule.paths, values, strict=True))))


@pytest.mark.parametrize(
    ("name", "good", "bad"),
    [
        ("active_experts", (8, 8), (8, 4)),
        ("kv_heads", (8, 64), (12, 64)),
        ("hidden_heads", (8192, 64), (5120, 96)),
        ("tensor_heads", (8, 64), (3, 64)),
        ("tensor_kv_heads", (8, 4), (6, 4)),
        ("tensor_kv_heads", (2, 8), (3, 8)),
        ("chips", (4, 2, 8), (4, 4, 8)),
        ("stages", (8, 80), (96, 80)),
        ("expert_ranks", (4, 2, 8), (3, 1, 8)),
        ("expert_groups", (8, 2), (3, 2)),
        ("ranked_experts", (1, 1), (4, 2)),
    ],
)
def test_rules(name: str, *, good: tuple[float, ...], bad: tuple[float, ...]):
    assert kept(name, *good)
    assert not kept(name, *bad)


def test_rules_of_placement_are_the_faults_of_a_design():
    """Whatever has no fault keeps the rules of placement, and the other way round."""
    design = build_design(
        chip="h100-sxm",
        num_chips=8,
        model="llama-3-70b",
        tensor_parallel=8,
        batch=64,
        prompt_length=1024,
        output_length=256,
    )
    placing = [
        r for r in RULES if not set(r.paths) <= {p for p in r.paths if "kv" in p}
    ]
    placing = [r for r in placing if any(p.startswith("deployment.") for p in r.paths)]
    placing = [r for r in placing if r.name != "tensor_kv_heads"]
    rng, found = np.random.default_rng(0), []
    for _ in range(60):
        values = {
            "deployment.tensor_parallel": rng.choice([1, 2, 3, 4, 8]),
            "deployment.pipeline_parallel": rng.choice([1, 2, 3]),
            "deployment.expert_parallel": rng.choice([1, 1, 2, 4]),
            "model.num_experts": rng.choice([1, 8]),
        }
        moved = design
        for path, value in values.items():
            moved = set_path(moved, path, value=float(value))
        known = {**values, "system.num_chips": 8, "model.num_heads": 64}
        known["model.num_layers"] = 80
        legal = all(bool(rule.kept(known)) for rule in placing)
        assert legal == (not design_faults(moved)), values
        found.append(legal)
    assert 5 < sum(found) < 55


def test_one_legal_value_is_a_fixed_variable(tmp_path: Path):
    study = study_with(
        tmp_path,
        "chip.dram.stacks: {min: 6, max: 6, integer: true}",
        "chip.dram.bandwidth: {min: 4 TB/s, max: 4 TB/s}",
        "model.weight_bits: {choices: [8]}",
        "model.ffn_size: {min: 28000, max: 28800, multiple_of: 1024}",
    )
    space = build_space(study)
    fixed = dict(zip(space.paths, space.pinned, strict=True))
    assert not fixed.pop("chip.tdp")
    assert [path for path, pinned in fixed.items() if pinned] == [
        "chip.dram.stacks",
        "chip.dram.bandwidth",
        "model.weight_bits",
        "model.ffn_size",
    ]
    values = space.round(
        space.decode(np.full((1, len(space.paths)), 0.3)),
        mask=np.ones(len(space.paths), bool),
    )[0]
    assert values[1:5] == pytest.approx([6, 4e12, 8, 28672])
    lines = presolved_lines(study, space)
    assert "chip.dram.bandwidth is fixed at 4 TB/s" in lines
    assert len(lines) == 4
    given = space.encode(space.values_of(study.baseline))
    np.testing.assert_allclose(
        space.decode(given), space.values_of(study.baseline), rtol=1e-12
    )


def test_values_without_a_partner_are_left_out(tmp_path: Path):
    study = study_with(
        tmp_path,
        "deployment.tensor_parallel: {choices: [1, 3, 8, 16]}",
        "model.hidden_size: {min: 2048, max: 8192, multiple_of: 96}",
    )
    space = build_space(study)
    tensor, hidden = space.variables[1], space.variables[2]
    assert tensor.choices == (1.0, 8.0)
    assert hidden.multiple == pytest.approx(192)
    values = legal_values(hidden)
    assert values is not None
    assert values[[0, -1]] == pytest.approx([2112, 8064])
    assert np.all(values % 64 == 0)


def test_a_rule_that_the_baseline_breaks_does_not_bind(tmp_path: Path):
    study = study_with(
        tmp_path, "model.hidden_size: {min: 2048, max: 9216, multiple_of: 128}"
    )
    odd = set_path(study.baseline, "model.num_heads", value=96.0)
    names = {rule.name for rule in presolve(study.free, odd).rules}
    assert "hidden_heads" not in names
    assert "hidden_heads" in {
        r.name for r in presolve(study.free, study.baseline).rules
    }


@pytest.mark.parametrize(
    ("free", "rule"),
    [
        ("deployment.tensor_parallel: {choices: [3, 6]}", "tensor_heads"),
        ("model.num_kv_heads: {choices: [3, 5]}", "kv_heads"),
        ("model.num_active_experts: {choices: [2, 4]}", "active_experts"),
        ("deployment.tensor_parallel: {choices: [16, 32]}", "chips"),
    ],
)
def test_a_box_without_a_legal_combination_is_a_fault_with_its_line(
    tmp_path: Path, *, free: str, rule: str
):
    with pytest.raises(InputError) as caught:
        study_with(tmp_path, free)
    message = str(caught.value)
    assert message.startswith("tied.yaml:6  free.")
    assert f"off: [{rule}]" in message
    assert len(message.splitlines()) == 1


def test_a_box_without_a_die_inside_the_reticle_is_a_fault(tmp_path: Path):
    small = "chip.sram.capacity: {min: 32 MiB, max: 64 MiB}"
    with pytest.raises(InputError) as caught:
        study_with(tmp_path, "chip.compute.macs: {min: 4e6, max: 8e6}", small)
    message = str(caught.value)
    assert message.startswith("tied.yaml:6  free.chip.compute.macs: the smallest die")
    assert "858 mm" in message
    assert study_with(
        tmp_path,
        "chip.compute.macs: {min: 4e6, max: 8e6}",
        small,
        more="off: [reticle]",
    ).off == ("reticle",)


@pytest.mark.parametrize(
    ("limit", "tdp"),
    [
        ("{min: 700 W, max: chip.tdp}", "{min: 150 W, max: 800 W, multiple_of: 300 W}"),
        ("{min: 700 W, max: 0.9 * chip.tdp}", "{choices: [300 W, 770 W]}"),
        ("{min: 700 W, max: 2 * chip.tdp, multiple_of: 500 W}", "{choices: [450 W]}"),
    ],
)
def test_a_least_value_that_a_bound_never_reaches_names_both(
    tmp_path: Path, *, limit: str, tdp: str
):
    text = TEXT.format(free=f"  deployment.power_limit: {limit}", more="")
    path = tmp_path / "tied.yaml"
    path.write_text(text.replace("{min: 300 W, max: 900 W}", tdp), encoding="utf-8")
    with pytest.raises(InputError) as caught:
        load_study(path)
    message = str(caught.value)
    assert message.startswith("tied.yaml:6  free.deployment.power_limit")
    assert "chip.tdp" in message
    assert len(message.splitlines()) == 1


def test_a_rule_can_be_switched_off(tmp_path: Path):
    free = "model.num_kv_heads: {choices: [3, 5]}"
    study = study_with(tmp_path, free, more="off: [kv_heads, tensor_kv_heads]")
    assert build_space(study).variables[1].choices == (3.0, 5.0)


def test_a_conflict_of_several_rules_has_no_combination():
    """Two of three pairs always fit; three values of two kinds never all differ."""
    rules = tuple(
        Rule(f"{one}{other}", (one, other), f"{one} is not {other}", np.not_equal)
        for one, other in ("ab", "bc", "ac")
    )
    domains = {name: np.array([1.0, 2.0]) for name in "abc"}
    found = Presolved(rules, domains, {})
    assert first_legal(found, "abc") is None
    assert first_legal(Presolved(rules[:2], domains, {}), "abc") == {
        "a": 1,
        "b": 2,
        "c": 1,
    }


def test_the_small_study_is_as_before(tmp_path: Path):
    study = load_small(tmp_path)
    assert presolved_lines(study, build_space(study)) == []
