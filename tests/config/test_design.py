from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from codesign.config.catalogue import list_presets
from codesign.config.chips import load_chip, load_system
from codesign.config.design import (
    build_design,
    check_design,
    design_to_dict,
    exact_text,
    load_design,
    save_design,
)
from codesign.config.faults import design_faults, legal_points
from codesign.config.models import load_model
from codesign.config.overrides import apply_overrides
from codesign.config.stacks import load_stack
from codesign.core.errors import InputError, UnitError, UnknownKeyError
from codesign.core.paths import get_path, path_units, set_path
from codesign.core.quantities import Unit
from codesign.serving.design import Design, set_parameter
from tests.helpers import assert_trees_close

GIVEN: dict[str, Any] = {
    "chip": "h100-sxm",
    "num_chips": 8,
    "model": "llama-3-70b",
    "batch": 64,
    "prompt_length": 1024,
    "output_length": 256,
}


def build(**changes: Any) -> Design:
    given = {**GIVEN, **changes}
    return build_design(**{key: v for key, v in given.items() if v is not None})


@pytest.fixture(scope="module")
def design() -> Design:
    return build()


def problems_of(**changes: Any) -> str:
    with pytest.raises(InputError) as caught:
        build(**changes)
    return str(caught.value)


def test_defaults_are_those_of_the_chip(design: Design):
    deployment = design.deployment
    assert float(deployment.tensor_parallel) == pytest.approx(8)
    assert float(deployment.pipeline_parallel) == pytest.approx(1)
    assert float(deployment.expert_parallel) == pytest.approx(1)
    assert float(deployment.power_limit) == pytest.approx(700)
    assert float(deployment.decode_voltage) == pytest.approx(float(design.chip.voltage))
    assert float(design.request.rate) == pytest.approx(0)
    assert_trees_close(design.stack, load_stack("vllm-0.11-h100"))


def test_every_leaf_is_float64(design: Design):
    leaves = jax.tree.leaves(design)
    assert all(isinstance(leaf, jax.Array) for leaf in leaves)
    assert {leaf.dtype for leaf in leaves} == {jnp.dtype(jnp.float64)}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"num_chips": 16}, 8),
        ({"num_chips": 12}, 4),
        ({"num_chips": 8, "pipeline_parallel": 4}, 2),
        ({"num_chips": None}, 1),
        ({"chip": "tpu-v4", "num_chips": 64}, 64),
        ({"chip": "wse-3", "num_chips": 4}, 1),
    ],
)
def test_default_tensor_parallel_stays_inside_the_domain(
    *, changes: dict[str, Any], expected: float
):
    found = build(**changes).deployment.tensor_parallel
    assert float(found) == pytest.approx(expected)


def test_texts_carry_units_and_numbers_are_si():
    texts = build(power_limit="0.5 kW", prompt_length="1024 tokens")
    numbers = build(power_limit=500.0, prompt_length=np.float32(1024))
    assert_trees_close(texts, numbers)


def test_rate_replaces_batch():
    design = build(batch=None, rate="240 request/min")
    assert float(design.request.rate) == pytest.approx(4.0)
    assert float(design.deployment.batch) > 0


def test_records_are_taken_as_they_are(design: Design):
    found = build(
        chip=load_chip("h100-sxm"),
        model=load_model("llama-3-70b"),
        stack=load_stack("vllm-0.11-h100"),
        system=load_system("h100-sxm", num_chips=8),
        num_chips=None,
    )
    assert_trees_close(found, design)


def test_system_of_a_chip_record_can_be_spelt_out(design: Design):
    found = build(
        chip=load_chip("h100-sxm"),
        stack="vllm-0.11-h100",
        domain_size=8,
        outer_bandwidth="50 GB/s",
        outer_latency="5 us",
        hops=1,
    )
    assert_trees_close(found, design)


def test_defaults_follow_overrides():
    design = build(overrides=["chip.tdp=1 kW", "model.num_heads=48"], num_chips=16)
    assert float(design.deployment.power_limit) == pytest.approx(1000)
    assert float(design.deployment.tensor_parallel) == pytest.approx(8)
    assert float(build(overrides=["deployment.batch=7"]).deployment.batch) == 7


@pytest.mark.parametrize(
    ("changes", "messages"),
    [
        ({"chip": "h100-sxn"}, ["chip: no preset", "h100-sxm", "codesign presets"]),
        ({"model": "lama-3-70b"}, ["model: no preset", "llama-3-70b"]),
        ({"stack": "idael"}, ["stack: no preset", "ideal"]),
        ({"chip": 3}, ["chip: expected a name, a file or a Chip, found 3"]),
        ({"rate": "4 req/s"}, ["batch: give batch", "not both"]),
        ({"batch": None}, ["give either batch", "4 req/s"]),
        ({"batch": 0}, ["batch: 0 is not positive"]),
        ({"batch": None, "rate": 4}, []),
        ({"power_limit": "500"}, ["power_limit needs a unit", '"500 W"']),
        ({"power_limit": "7 GB/s"}, ['"7 GB/s" is a bandwidth', "is a power"]),
        ({"power_limit": True}, ["power_limit", "found True"]),
        ({"prompt_length": "long"}, ['"long" is not a quantity']),
        ({"prompt_length": [1]}, ["prompt_length: expected a quantity"]),
        ({"tensor_parallel": 3}, ["tensor_parallel", "num_chips 8", "1, 2, 4, 8"]),
        ({"tensor_parallel": 2.5}, ["tensor_parallel: 2.5 is not a whole number"]),
        (
            {"tensor_parallel": 24, "num_chips": 24},
            ["tensor_parallel: 24 does not divide num_heads 64"],
        ),
        ({"pipeline_parallel": 3}, ["pipeline_parallel 3 does not divide num_chips 8"]),
        (
            {"pipeline_parallel": 160, "num_chips": 160},
            ["pipeline_parallel: 160 stages are more than num_layers 80"],
        ),
        (
            {"expert_parallel": 2},
            ["expert_parallel: 2 ranks are more than num_experts"],
        ),
        (
            {"expert_parallel": 3, "model": "mixtral-8x7b"},
            ["expert_parallel: 3 ranks do not divide the 8 chips"],
        ),
        ({"prefix_hit_fraction": 1.2}, ["prefix_hit_fraction: 1.2 is above 1"]),
        ({"prefix_hit_fraction": 1}, ["leaves no token to prefill"]),
        ({"prefix_hit_fraction": -0.1}, ["prefix_hit_fraction: -0.1 is negative"]),
        ({"output_variation": -1}, ["output_variation: -1 is negative"]),
        ({"overrides": ["chip.hbm=3 TB/s"]}, ["chip.hbm: unknown parameter"]),
        ({"overrides": ["chip.sram.tile_fraction=0.9"]}, ["add up to 1.2"]),
    ],
)
def test_problems_say_where_and_what_is_allowed(
    *, changes: dict[str, Any], messages: list[str]
):
    if not messages:
        assert float(build(**changes).request.rate) == pytest.approx(4)
        return
    text = problems_of(**changes)
    for message in messages:
        assert message in text


def test_all_problems_are_collected():
    lines = problems_of(chip="h10O", power_limit="5", rate="4 req/s").splitlines()
    assert len(lines) == 3


def test_chip_record_without_system_and_stack():
    text = problems_of(chip=load_chip("h100-sxm"))
    assert "domain_size, outer_bandwidth, outer_latency, hops" in text
    assert "give stack=" in text


@pytest.mark.parametrize("chip", list_presets("chips"))
def test_saved_design_loads_as_itself(*, chip: str, tmp_path: Path):
    design = build(chip=chip, model="deepseek-v3")
    path = tmp_path / "design.yaml"
    save_design(design, path, comment="two\nlines")
    assert path.read_text(encoding="utf-8").startswith("# two\n# lines\n")
    assert_trees_close(load_design(path), design, rtol=1e-12, atol=0.0)


def test_values_without_a_short_text_survive(*, design: Design, tmp_path: Path):
    draws = np.random.default_rng(0)
    path = tmp_path / "design.yaml"
    for name in path_units(Design):
        size = jnp.shape(get_path(design, name))
        scale = draws.uniform(0.5, 2.0, size)
        design = set_path(design, name, value=get_path(design, name) * scale)
    save_design(design, path)
    assert_trees_close(load_design(path), design, rtol=1e-12, atol=0.0)


def test_a_residual_that_a_file_lacks_is_as_derived(*, design: Design, tmp_path: Path):
    path = tmp_path / "design.yaml"
    save_design(set_path(design, "chip.anchor.bank_energy", value=0.3), path)
    lines = path.read_text(encoding="utf-8").splitlines()
    kept = [line for line in lines if not line.lstrip().startswith("bank_energy: 0.3")]
    assert len(kept) == len(lines) - 1
    path.write_text("\n".join(kept) + "\n", encoding="utf-8")
    assert_trees_close(load_design(path), design, rtol=1e-12, atol=0.0)


def test_dictionary_holds_texts_with_units(design: Design):
    content = design_to_dict(design)
    assert content["chip"]["dram"]["bandwidth"] == "3.35 TB/s"
    assert content["deployment"]["batch"] == 64
    assert len(content["technology"]["nodes"]["node"]) > 1


@pytest.mark.parametrize("unit", ["W", "B/s", "J/B^1.5", "MAC", "bit", "token", "1"])
def test_exact_text_is_a_plain_number_or_has_the_unit(unit: str):
    text = exact_text(1.0 / 3.0, Unit(unit))
    assert isinstance(text, float) if unit == "1" else isinstance(text, str)


def test_values_that_are_not_finite_are_not_saved(*, design: Design, tmp_path: Path):
    broken = set_path(design, "chip.tdp", value=jnp.asarray(jnp.nan))
    with pytest.raises(InputError, match=r"chip\.tdp: .*not finite"):
        save_design(broken, tmp_path / "design.yaml")


def test_broken_design_files_name_lines(*, design: Design, tmp_path: Path):
    path = tmp_path / "design.yaml"
    save_design(design, path)
    text = path.read_text(encoding="utf-8")
    broken = text.replace("  tdp: 700 W", "  tpd: 700 W").replace("3.35 TB/s", "3.35")
    path.write_text(broken, encoding="utf-8")
    lines = broken.splitlines()
    with pytest.raises(InputError) as caught:
        load_design(path)
    found = str(caught.value)
    typo = lines.index("  tpd: 700 W") + 1
    assert f"design.yaml:{typo}  chip.tpd: unknown key. Did you mean tdp?" in found
    assert "chip: missing key: tdp" in found
    bare = lines.index("    bandwidth: 3.35") + 1
    assert f"design.yaml:{bare}  chip.dram.bandwidth" in found
    assert "needs a unit" in found


def test_absent_design_file(tmp_path: Path):
    with pytest.raises(InputError, match="no such file"):
        load_design(tmp_path / "absent.yaml")


def test_override_replaces_one_leaf(design: Design):
    changed = apply_overrides(
        design, ["chip.dram.bandwidth=8 TB/s", "model.num_layers = 40"]
    )
    assert float(changed.chip.dram.bandwidth) == pytest.approx(8e12)
    assert float(changed.model.num_layers) == pytest.approx(40)
    back = apply_overrides(
        changed, ["chip.dram.bandwidth=3.35 TB/s", "model.num_layers=80"]
    )
    assert_trees_close(back, design)


@pytest.mark.parametrize(
    ("assignment", "error", "message"),
    [
        ("chip.dram.bandwith=8 TB/s", UnknownKeyError, "chip.dram.bandwidth"),
        ("tdp=8 W", UnknownKeyError, "Close: chip.tdp"),
        ("chip.dram=8 W", UnknownKeyError, "group of parameters: chip.dram.stacks"),
        ("chip.tdp=8", UnitError, "needs a unit"),
        ("chip.tdp=8 GB", UnitError, "chip.tdp is a power"),
        ("chip.tdp=-8 W", InputError, "is negative"),
        ("chip.tdp", InputError, "path=value"),
        ("technology.nodes.node=5 nm", InputError, "is a table"),
    ],
)
def test_bad_overrides(
    *, design: Design, assignment: str, error: type[Exception], message: str
):
    with pytest.raises(error) as caught:
        apply_overrides(design, [assignment])
    assert message in str(caught.value)


def test_bad_overrides_are_collected(design: Design):
    with pytest.raises(UnknownKeyError) as caught:
        apply_overrides(design, ["chip.tpd=8 W", "chip.tdp=8"])
    assert len(str(caught.value).splitlines()) == 2


def test_check_design_names_faults_of_a_changed_design(design: Design):
    check_design(design)
    broken = apply_overrides(design, ["deployment.tensor_parallel=3"])
    with pytest.raises(InputError, match=r"deployment\.tensor_parallel"):
        check_design(broken)


def test_stacks_without_bandwidth_are_a_fault(design: Design):
    """A bandwidth of zero stands for no DRAM at all, which stacks contradict."""
    blind = set_parameter(design, "chip.dram.bandwidth", value=0.0)
    assert list(design_faults(blind)) == ["chip.dram.bandwidth"]
    paths = ("chip.dram.stacks", "chip.dram.bandwidth")
    values = np.array([[0.0, 0.0], [2.0, 0.0], [2.0, 1e12]])
    assert legal_points(design, paths, values=values).tolist() == [True, False, True]
    alone = legal_points(design, paths[1:], values=values[:, 1:])
    assert alone.tolist() == [False, False, True]
