"""A comparison names what differs, and its shares add up to the change."""

import math
from pathlib import Path

import pytest

from codesign.config.design import save_design
from codesign.core.errors import InputError, UnknownNameError
from codesign.cost.evaluate import evaluate
from codesign.serving.design import Design, set_parameter
from codesign.study.compare import compare, comparison_to_dict
from tests.study.jobs import design

CHANGES = {
    "chip.dram.bandwidth": 4e12,
    "deployment.batch": 128.0,
    "model.num_layers": 60.0,
}


@pytest.fixture(scope="module")
def after() -> Design:
    changed = design()
    for path, value in CHANGES.items():
        changed = set_parameter(changed, path, value=value)
    return changed


def test_shares_add_up_to_the_change(after: Design):
    found = compare(design(), after)
    costs = [float(evaluate(d).energy_per_token_server) for d in (after, design())]
    assert found.total == pytest.approx(math.log(costs[0] / costs[1]), rel=1e-9)
    assert found.why.keys() == CHANGES.keys()
    assert all(share < 0 for share in found.why.values())


def test_variables_metrics_and_components_are_listed(after: Design):
    found = compare(design(), after)
    changed = {change.name: change for change in found.variables}
    assert CHANGES.keys() <= changed.keys()
    assert "model.num_ffn_layers" in changed
    assert changed["deployment.batch"].ratio == 2.0
    energy = {c.name: c for c in found.metrics}["energy_per_token"]
    before = sum(c.before for c in found.components)
    assert before == pytest.approx(energy.before, rel=1e-9)
    data = comparison_to_dict(found)
    assert data["metrics"]["energy_per_token"]["unit"] == "J/token"


def test_equal_designs_differ_in_nothing():
    found = compare(design(), design())
    assert (found.variables, found.metrics, found.why) == ((), (), {})


def test_files_and_folders_are_compared(after: Design, tmp_path: Path):
    save_design(after, tmp_path / "best.yaml")
    found = compare(design(), tmp_path)
    assert found.why.keys() == CHANGES.keys()
    with pytest.raises(InputError, match=r"no best\.yaml"):
        compare(design(), tmp_path / "none")
    with pytest.raises(UnknownNameError, match="energy_per_token"):
        compare(design(), after, of="energy_per_tokn")


def test_a_draft_model_is_one_change_and_not_half_of_one(after: Design):
    drafted = design().replace(draft=after.model)
    with pytest.raises(InputError, match="One design has a draft model"):
        compare(design(), drafted)
