"""Sections ``scenarios``, ``split`` and ``robust`` of a study, and their faults."""

from pathlib import Path

import pytest

from codesign.config.question import Study
from codesign.config.resolved import resolved_study
from codesign.config.study import load_study
from codesign.config.yaml import read_yaml, yaml_text
from codesign.core.errors import InputError

SHIPPED = "scenarios"


@pytest.fixture(scope="module")
def shipped() -> Study:
    return load_study(SHIPPED)


def changed(shipped: Study, folder: Path, **sections: object) -> Path:
    """The shipped study with sections replaced; None takes one out."""
    data = read_yaml(shipped.path).data | sections
    file = folder / "changed.yaml"
    kept = {key: value for key, value in data.items() if value is not None}
    file.write_text(yaml_text(kept), encoding="utf-8")
    return file


def test_a_case_differs_in_what_it_says_and_in_nothing_else(shipped: Study):
    assert shipped.cases is not None
    chat, agent, small = shipped.cases.studies
    assert shipped.cases.weights == (3.0, 1.0, 2.0)
    assert float(agent.baseline.request.prompt_length) == 32768
    assert float(agent.baseline.request.output_length) == 512
    assert float(chat.baseline.request.prompt_length) == 1024
    assert float(small.baseline.model.num_layers) == 32
    assert [v.path for v in small.free] == [v.path for v in chat.free]
    assert chat.cases is None


def test_numbers_are_read_with_their_units(shipped: Study):
    assert shipped.handoff is not None
    assert shipped.handoff.bandwidth == pytest.approx(50e9)
    assert shipped.handoff.energy == pytest.approx(80e-12)
    assert shipped.chances is not None
    assert (shipped.chances.draws, shipped.chances.limits) == (16, 0.9)
    assert shipped.chances.objective is None


def test_the_resolved_file_asks_the_same(shipped: Study, tmp_path: Path):
    file = tmp_path / "again.yaml"
    file.write_text(resolved_study(shipped), encoding="utf-8")
    again = load_study(file)
    assert again.chances == shipped.chances
    assert again.handoff == shipped.handoff
    assert again.cases is not None
    assert shipped.cases is not None
    assert again.cases.names == shipped.cases.names
    agent = again.cases.studies[1].baseline.request
    assert float(agent.prefix_hit_fraction) == pytest.approx(0.8)


LINK = {"bandwidth": "50 GB/s", "latency": "10 us", "energy": "80 pJ/B"}
FAULTS = {
    "one case": ({"scenarios": {"cases": {"chat": {}}}}, "two or more"),
    "unknown key": ({"scenarios": {"cases": {"a": {"wieght": 1}, "b": {}}}}, "weight"),
    "no weight": ({"scenarios": {"cases": {"a": {"weight": 0}, "b": {}}}}, "positive"),
    "other limits": (
        {"scenarios": {"cases": {"a": {}, "b": {"subject_to": ["power <= 5 kW"]}}}},
        "same metrics",
    ),
    "bad model": (
        {"scenarios": {"cases": {"a": {}, "b": {"baseline": {"model": "llama"}}}}},
        "(scenario b)",
    ),
    "judge": (
        {"scenarios": {"judge": "best", "cases": {"a": {}, "b": {}}}},
        "worst or mean",
    ),
    "shared": (
        {"scenarios": {"shared": "chips", "cases": {"a": {}, "b": {}}}},
        "no free variable",
    ),
    "draws": ({"robust": {"draws": 10}}, "4, 8, 16"),
    "group": ({"robust": {"over": ["weather"]}}, "technology"),
    "share": ({"robust": {"limits": 90}}, "between 0 and 1"),
    "unit": ({"split": {**LINK, "energy": "80"}}, "unit"),
    "missing": ({"split": {"bandwidth": "50 GB/s"}}, "latency"),
    "backwards": ({"split": {**LINK, "bandwidth": "0 GB/s"}}, "positive"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_named(fault: str, tmp_path: Path):
    sections, hint = FAULTS[fault]
    with pytest.raises(InputError) as told:
        load_study(changed(load_study(SHIPPED), tmp_path, **sections))
    assert hint in str(told.value)
    assert "changed.yaml" in str(told.value)
