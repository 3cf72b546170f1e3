"""What a schema lets through a loader reads, and what it refuses is wrong."""

import copy
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from codesign.config.catalogue import list_presets, presets_directory
from codesign.config.design import build_design, design_to_dict
from codesign.config.schema import BUILDERS, file_schema
from codesign.config.units import format_quantity, quantity_pattern
from codesign.config.yaml import read_yaml
from codesign.core.errors import UnknownNameError
from codesign.core.paths import path_units
from codesign.cost.record import Cost
from codesign.serving.design import Design

ROOT = Path(__file__).resolve().parents[2]
KINDS = {"study": "studies", "chip": "chips", "model": "models", "stack": "stacks"}
STUDIES = sorted((ROOT / "experiments").glob("*/study*.yaml"))


@pytest.fixture(scope="module")
def judges() -> dict[str, jsonschema.Draft202012Validator]:
    made = {
        kind: jsonschema.Draft202012Validator(file_schema(kind)) for kind in BUILDERS
    }
    for judge in made.values():
        judge.check_schema(judge.schema)
    return made


def faults(judge: Any, data: object) -> list[str]:
    return [f"{list(e.absolute_path)}: {e.message}" for e in judge.iter_errors(data)]


@pytest.mark.parametrize("kind", KINDS)
def test_every_preset_fits_its_schema(kind: str, judges: dict[str, Any]):
    for name in list_presets(KINDS[kind]):
        file = presets_directory() / KINDS[kind] / f"{name}.yaml"
        assert not faults(judges[kind], read_yaml(file).data), name


@pytest.mark.parametrize("file", STUDIES, ids=lambda file: file.parent.name)
def test_studies_of_experiments_fit(file: Path, judges: dict[str, Any]):
    assert not faults(judges["study"], read_yaml(file).data)


def test_written_design_fits(judges: dict[str, Any]):
    design = build_design(
        chip="h100-sxm",
        model="llama-3-70b",
        draft="llama-3-8b",
        num_chips=8,
        batch=64,
        prompt_length=1024,
        output_length=256,
    )
    assert not faults(judges["design"], design_to_dict(design))


BAD = {
    "unknown section": ("serach", {"starts": 4}),
    "unknown parameter": (
        "free",
        {"chip.hbm_tbsp": {"min": "1 TB/s", "max": "2 TB/s"}},
    ),
    "bare number": ("free", {"chip.tdp": {"min": 150, "max": "700 W"}}),
    "wrong dimension": ("free", {"chip.tdp": {"min": "150 GB", "max": "700 W"}}),
    "one bound": ("free", {"chip.tdp": {"min": "150 W"}}),
    "no truth value": (
        "free",
        {"model.num_heads": {"min": 1, "max": 64, "power_of_two": "yes"}},
    ),
    "governed": ("free", {"deployment.decode_voltage": {"min": "0.6 V", "max": "1 V"}}),
    "unknown metric": ("minimize", "energy_per_tokens"),
    "metric that may be negative": ("minimize", "quality.gap"),
    "limit without a sign": ("subject_to", ["time_per_output_token 30 ms"]),
    "limit that is no metric": ("subject_to", ["tpot <= 30 ms"]),
    "unknown limit": ("off", ["reticel"]),
    "text for a count": ("search", {"starts": "many"}),
    "unknown method": ("sweep", {"method": "all", "over": {"chip.tdp": ["500 W"]}}),
}


def test_every_form_of_a_variable_fits(judges: dict[str, Any]):
    file = presets_directory() / "studies" / "joint_chat.yaml"
    study = copy.deepcopy(read_yaml(file).data)
    for form in (
        {"min": 1, "max": 64, "power_of_two": True},
        {"min": 1, "max": "0.5 * model.num_heads", "integer": True},
        {"min": 8, "max": 64, "multiple_of": 8},
        {"choices": [1, 2]},
    ):
        study["free"] = {"model.num_kv_heads": form}
        assert not faults(judges["study"], study), form


@pytest.mark.parametrize("name", BAD)
def test_what_a_loader_refuses_is_refused(name: str, judges: dict[str, Any]):
    key, value = BAD[name]
    study = copy.deepcopy(
        read_yaml(presets_directory() / "studies" / "joint_chat.yaml").data
    )
    study[key] = value
    assert faults(judges["study"], study)


def test_every_text_that_we_print_is_a_quantity():
    units = {*path_units(Design).values(), *path_units(Cost).values()}
    for unit in units:
        judge = jsonschema.Draft202012Validator(
            {"type": "string", "pattern": quantity_pattern(unit)}
        )
        for value in (0.0, 3.2e-13, 1.0, 4.7e11):
            text = format_quantity(value, unit)
            assert judge.is_valid(text), (text, unit)


def test_unknown_kind_names_the_known():
    with pytest.raises(UnknownNameError, match="study, design, chip, model, stack"):
        file_schema("system")
