import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from codesign.config.limits import Limit, metric_units
from codesign.config.question import Search, Study
from codesign.config.resolved import resolved_study
from codesign.config.study import init_study_text, load_study
from codesign.config.variables import Variable
from codesign.core.errors import InputError, UnknownNameError
from codesign.core.paths import get_path
from tests.helpers import assert_trees_close

SHIPPED = "joint_chat"

TEXT = """\
name: small
baseline:
  chip: h100-sxm
  num_chips: 8
  model: llama-3-70b
  batch: 64
request: {prompt_length: 1024, output_length: 256}
free:
  chip.tdp: {min: 150 W, max: 1400 W}
  deployment.batch: {min: 1, max: 4096, integer: true}
minimize: energy_per_token_server
subject_to:
  - time_per_output_token <= 30 ms
search: {starts: 16, seed: 3}
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "study.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def load(folder: Path, text: str) -> Study:
    return load_study(write(folder, text))


def problems_of(folder: Path, text: str) -> str:
    with pytest.raises(InputError) as caught:
        load(folder, text)
    return str(caught.value)


@pytest.fixture(scope="module")
def shipped() -> Study:
    return load_study(SHIPPED)


def test_shipped_study(shipped: Study):
    assert shipped.name == "joint-chat"
    assert shipped.minimize == "energy_per_token_server"
    assert shipped.tune == ("deployment.",)
    assert shipped.search == Search(starts=128, seed=0)
    assert shipped.off == ()
    assert len(shipped.free) == 18
    assert float(shipped.baseline.deployment.batch) == pytest.approx(64)
    assert float(shipped.baseline.system.num_chips) == pytest.approx(8)


def test_variables_of_the_shipped_study(shipped: Study):
    free = {variable.path: variable for variable in shipped.free}
    assert free["chip.sram.capacity"] == Variable(
        "chip.sram.capacity", "B", 32 * 2.0**20, 2.0**30
    )
    assert free["model.hidden_size"].multiple == pytest.approx(128)
    assert free["deployment.batch"].integer
    kv = free["model.kv_bits"]
    assert (kv.choices, kv.low, kv.high) == ((4, 8, 16), 4, 16)
    limit = free["deployment.power_limit"]
    assert (limit.high_path, limit.high) == ("chip.tdp", 1400)


def test_limits_of_the_shipped_study(shipped: Study):
    texts = [limit.text for limit in shipped.limits]
    assert shipped.limits[0] == Limit(
        "time_per_output_token", "<=", texts[0], value=0.03
    )
    area = shipped.limits[2]
    assert (area.metric, area.baseline, area.factor) == ("chip.area", True, 1.0)
    assert shipped.limits[4].value == pytest.approx(0)


def test_resolved_study_loads_as_the_same_study(*, shipped: Study, tmp_path: Path):
    again = load(tmp_path, resolved_study(shipped))
    assert again.free == shipped.free
    assert again.limits == shipped.limits
    assert again.resolved == shipped.resolved
    assert_trees_close(again.baseline, shipped.baseline)


def test_resolved_study_writes_defaults_out(shipped: Study):
    text = resolved_study(shipped)
    assert "stack: vllm-0.11-h100" in text
    assert "power_limit: 700 W" in text
    assert "prefix_hit_fraction: 0" in text
    assert "baseline 28672, outside" in text


def test_init_writes_a_study_that_loads(tmp_path: Path):
    text = init_study_text()
    assert text.startswith("#")
    assert load(tmp_path, text).minimize == "energy_per_token_server"


def test_batch_may_be_left_out_where_it_is_free(tmp_path: Path):
    study = load(tmp_path, TEXT.replace("  batch: 64\n", ""))
    assert float(study.baseline.deployment.batch) == pytest.approx(64)
    assert float(study.baseline.deployment.tensor_parallel) == pytest.approx(8)


def test_open_loop_study(tmp_path: Path):
    text = TEXT.replace("  batch: 64\n", "").replace(
        "output_length: 256", "output_length: 256, rate: 4 req/s"
    )
    study = load(tmp_path, text)
    assert float(study.baseline.request.rate) == pytest.approx(4)
    assert study.resolved["request"]["rate"] == "4 req/s"
    assert "batch" not in study.resolved["baseline"]
    assert load(tmp_path, resolved_study(study)).resolved == study.resolved


def test_files_beside_the_study_are_found(tmp_path: Path):
    chip = Path(__file__).parents[2] / "configs" / "chips" / "h100-sxm.yaml"
    (tmp_path / "mine.yaml").write_text(chip.read_text(encoding="utf-8"), "utf-8")
    study = load(tmp_path, TEXT.replace("h100-sxm", "mine.yaml"))
    assert study.resolved["baseline"]["chip"] == str(tmp_path / "mine.yaml")
    assert study.resolved["baseline"]["stack"] == "vllm-0.11-h100"


def test_baseline_values_can_be_set(tmp_path: Path):
    text = TEXT.replace("  batch: 64", "  batch: 64\n  set: {chip.tdp: 1 kW}")
    study = load(tmp_path, text)
    assert float(study.baseline.chip.tdp) == pytest.approx(1000)
    assert float(study.baseline.deployment.power_limit) == pytest.approx(1000)
    assert load(tmp_path, resolved_study(study)).resolved == study.resolved


@pytest.mark.parametrize(
    ("entry", "high", "factor"),
    [
        ("max: chip.tdp", 1400, 1.0),
        ("max: 0.5 * chip.tdp", 700, 0.5),
        ("max: 2*chip.voltage", None, None),
        ("max: 3 * system.num_chips", None, None),
    ],
)
def test_bounds_on_other_parameters(
    *, tmp_path: Path, entry: str, high: float | None, factor: float | None
):
    variable = f"  deployment.power_limit: {{min: 100 W, {entry}}}\n"
    text = TEXT.replace("minimize:", f"{variable}minimize:")
    if high is None:
        assert "the variable is in W" in problems_of(tmp_path, text)
        return
    found = load(tmp_path, text).free[-1]
    assert found.high == pytest.approx(high)
    assert found.high_factor == pytest.approx(factor)


def test_bound_on_a_fixed_parameter_takes_the_baseline(tmp_path: Path):
    text = TEXT.replace("chip.tdp: {min: 150 W, max: 1400 W}", "PLACE").replace(
        "PLACE", "deployment.power_limit: {min: 100 W, max: 0.9 * chip.tdp}"
    )
    assert load(tmp_path, text).free[0].high == pytest.approx(630)


@pytest.mark.parametrize(
    ("path", "entry", "choices"),
    [
        ("model.num_kv_heads", "{min: 1, max: 64, power_of_two: true}", (1, 64)),
        ("model.num_kv_heads", "{min: 3, max: 33, power_of_two: true}", (4, 32)),
        ("model.num_kv_heads", "{min: 0.5, max: 2, power_of_two: true}", (1, 2)),
        ("model.weight_bits", "{min: 4, max: 16, power_of_two: true}", (4, 16)),
        (
            "model.num_kv_heads",
            "{min: 2, max: 0.6 * model.num_heads, power_of_two: true}",
            (2, 32),
        ),
    ],
)
def test_powers_of_two_are_choices(
    *, tmp_path: Path, path: str, entry: str, choices: tuple[float, float]
):
    study = load(tmp_path, TEXT.replace("minimize:", f"  {path}: {entry}\nminimize:"))
    found = study.free[-1]
    number = round(np.log2(choices[1] / choices[0])) + 1
    assert found.choices == pytest.approx(np.geomspace(*choices, number))
    assert (found.low, found.high) == pytest.approx(choices)
    again = load(tmp_path, resolved_study(study))
    assert again.free == study.free
    off = TEXT.replace("integer: true", "integer: true, power_of_two: false")
    assert load(tmp_path, off).free == load(tmp_path, TEXT).free


def test_powers_of_two_are_set_on_the_command_line(tmp_path: Path):
    texts = ["free.deployment.batch.min=8", "free.deployment.batch.power_of_two=true"]
    texts.append("free.deployment.batch.integer=false")
    found = load_study(write(tmp_path, TEXT), overrides=texts).free[-1]
    assert found.choices == pytest.approx(2.0 ** np.arange(3, 13))


def test_bounds_in_a_circle(tmp_path: Path):
    text = TEXT.replace("max: 1400 W", "max: deployment.power_limit").replace(
        "minimize:", "  deployment.power_limit: {min: 9 W, max: chip.tdp}\nminimize:"
    )
    assert "bounds refer to each other" in problems_of(tmp_path, text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("time_per_output_token <= 30 ms", {"value": 0.03}),
        ("time_per_output_token <= 30 ms/token", {"value": 0.03}),
        ("throughput >= 5 ktoken/s", {"sense": ">=", "value": 5e3}),
        ("usd_per_token <= 0.8 USD/Mtoken", {"value": 0.8e-6}),
        ("chip.area <= 900 mm^2", {"value": 9e-4}),
        ("chip.area<=baseline", {"baseline": True, "factor": 1.0}),
        ("chip.area <= 0.9 * baseline", {"baseline": True, "factor": 0.9}),
        ("power <= 0.7*chip.tdp", {"path": "chip.tdp", "factor": 0.7}),
        ("power <= deployment.power_limit", {"path": "deployment.power_limit"}),
        ("quality.gap <= -0.1", {"value": -0.1}),
        ("quality.mmlu >= 0.7", {"value": 0.7}),
        ("quality.gap <= 0 at 0.9", {"value": 0.0, "quantile": 0.9}),
        ("quality.loss <= 1.9 at 0.8", {"value": 1.9, "quantile": 0.8}),
        ("quality.mmlu >= 0.7 at 0.5", {"value": 0.7, "quantile": 0.5}),
        ("quality.gap <= 0", {"quantile": None}),
    ],
)
def test_limits_are_read(*, tmp_path: Path, text: str, expected: dict[str, Any]):
    limit = load(tmp_path, TEXT.replace("time_per_output_token <= 30 ms", text)).limits[
        0
    ]
    assert limit.metric == re.split("[<>]", text, maxsplit=1)[0].strip()
    for name, value in expected.items():
        found = getattr(limit, name)
        if isinstance(value, float):
            assert found == pytest.approx(value)
        else:
            assert found == value


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        ("", ("deployment.",)),
        ("tune: [deployment, model.kv_bits]", ("deployment.", "model.kv_bits")),
        ("tune: []", ()),
        ("tune: chip.dram", ("chip.dram.",)),
    ],
)
def test_tuned_variables(*, tmp_path: Path, entry: str, expected: tuple[str, ...]):
    study = load(tmp_path, TEXT.replace("  batch: 64", f"  batch: 64\n  {entry}"))
    assert study.tune == expected


def test_limits_are_switched_off_by_name(tmp_path: Path):
    study = load(tmp_path, TEXT + "off: [reticle, limits.memory, validity]\n")
    assert {"reticle", "memory", "window", "tokens_low"} <= set(study.off)
    assert "active_experts" not in study.off


def test_overrides_reach_file_and_baseline(tmp_path: Path):
    path = write(tmp_path, TEXT)
    study = load_study(
        path,
        overrides=[
            "search.seed=7",
            "free.chip.tdp.max=900 W",
            "chip.dram.bandwidth=8 TB/s",
            "minimize=usd_per_token",
            "subject_to=[chip.area <= baseline]",
        ],
    )
    assert study.search == Search(starts=16, seed=7)
    assert study.free[0].high == pytest.approx(900)
    assert float(study.baseline.chip.dram.bandwidth) == pytest.approx(8e12)
    assert study.minimize == "usd_per_token"
    assert [limit.text for limit in study.limits] == ["chip.area <= baseline"]
    assert load_study(path).search.seed == 3


FREE = "  chip.tdp: {min: 150 W, max: 1400 W}"
LIMIT = "  - time_per_output_token <= 30 ms"


@pytest.mark.parametrize(
    ("old", "new", "messages"),
    [
        ("name: small", "nmae: small", [":1  nmae: unknown key. Did you mean name?"]),
        ("  chip: h100-sxm", "  chip: h100-sxn", [":3  baseline.chip:", "h100-sxm"]),
        ("  model: llama-3-70b", "  model: lama", [":5  baseline.model:", "presets"]),
        ("  chip: h100-sxm\n", "", [":2  baseline.chip: is missing"]),
        ("  batch: 64", "  bacth: 64", [":6  baseline.bacth", "Did you mean batch?"]),
        ("  batch: 64", "  rate: 4 req/s", [":6  baseline.rate: belongs under req"]),
        ("  batch: 64", "  batch: 64 W", [":6  baseline.batch", "is a power"]),
        ("  batch: 64", "  batch: -3", [":6  baseline.batch: -3 is not positive"]),
        (
            "  batch: 64",
            "  batch: 64\n  tensor_parallel: 3",
            [":7  baseline.tensor_parallel", "1, 2, 4, 8"],
        ),
        (
            "  batch: 64",
            "  batch: 64\n  tune: deploymnt",
            [":7  baseline.tune", "deployment"],
        ),
        (
            "  batch: 64",
            "  batch: 64\n  set: {chip.tpd: 4 W}",
            [":7  baseline.set.chip.tpd: unknown parameter. Close: chip.tdp"],
        ),
        ("  batch: 64", "  batch: 64\n  set: 4", [":7  baseline.set: expected"]),
        (
            "output_length: 256",
            "output_length: 256, rate: 4 req/s",
            [":6  baseline.batch: give batch (closed loop) or rate", "not both"],
        ),
        (
            "output_length: 256",
            "output_length: 256, rate: 4",
            [":7  request.rate", "needs a unit"],
        ),
        (
            "prompt_length",
            "promt_length",
            [":7  request.promt_length", "prompt_length"],
        ),
        (", output_length: 256", "", [":7  request.output_length: is missing"]),
        (
            "  chip.tdp:",
            "  chip.tpd:",
            [":9  free.chip.tpd: unknown parameter. Close: chip.tdp"],
        ),
        ("  chip.tdp:", "  chip.dram:", ["free.chip.dram: is a group", "bandwidth"]),
        (
            FREE,
            "  technology.nodes.node: {min: 3 nm, max: 5 nm}",
            [":9  free.technology.nodes.node: is a table"],
        ),
        (
            FREE,
            "  deployment.decode_voltage: {min: 0.1 V, max: 1 V}",
            [":9  free.deployment.decode_voltage: is always free"],
        ),
        (FREE, "  chip.tdp: 700 W", [":9  free.chip.tdp: expected {min: ..., max:"]),
        ("min: 150 W", "min: 150", [":9  free.chip.tdp.min", "needs a unit", "150 W"]),
        ("min: 150 W", "min: 1 GB/s", [":9  free.chip.tdp.min", "is a bandwidth"]),
        ("min: 150 W", "min: [1 W]", [":9  free.chip.tdp.min: expected a quantity"]),
        ("min: 150 W", "mim: 150 W", [":9  free.chip.tdp.mim", "Did you mean min?"]),
        ("min: 150 W, ", "", [":9  free.chip.tdp: missing key: min"]),
        ("min: 150 W", "min: 0 W", [":9  free.chip.tdp.min: 0 W is not positive"]),
        (
            "min: 150 W",
            "min: 2 kW",
            [":9  free.chip.tdp: min 2 kW is above max 1400 W. Swapped?"],
        ),
        ("max: 1400 W", "max: chip.tpd", [":9  free.chip.tdp.max", "Close: chip.tdp"]),
        ("max: 1400 W", "max: chip.voltage", ["chip.voltage is in V", "is in W"]),
        (
            "max: 1400 W",
            "max: 1400 W, integer: true",
            [":9  free.chip.tdp.integer: only counts", "multiple_of"],
        ),
        (
            "max: 1400 W",
            "max: 160 W, multiple_of: 100 W",
            [":9  free.chip.tdp: no multiple of 100 W lies between"],
        ),
        ("min: 1,", "min: 1.5,", [":10  free.deployment.batch.integer: min 1.5"]),
        ("integer: true", "integer: maybe", [":10", "expected true or false"]),
        (
            "integer: true",
            "power_of_two: 2",
            [":10  free.deployment.batch.power_of_two: expected true or false"],
        ),
        (
            "integer: true",
            "integer: true, multiple_of: 8, power_of_two: true",
            [
                ":10  free.deployment.batch.power_of_two: stands with min and max",
                "drop multiple_of, integer",
            ],
        ),
        (
            "{min: 1, max: 4096, integer: true}",
            "{choices: [1, 2], power_of_two: true}",
            ["free.deployment.batch.choices: choices stand alone; drop power_of_two"],
        ),
        (
            "max: 1400 W",
            "max: 1400 W, power_of_two: true",
            [":9  free.chip.tdp.power_of_two: only counts are powers of two", "in W"],
        ),
        (
            "{min: 1, max: 4096, integer: true}",
            "{min: 5, max: 7, power_of_two: true}",
            [
                ":10  free.deployment.batch: no power of two lies between min 5 and "
                "max 7; the nearest are 4 and 8."
            ],
        ),
        (
            "{min: 1, max: 4096, integer: true}",
            "{min: 0.2, max: 0.7, power_of_two: true}",
            ["between min 0.2 and max 0.7; the nearest is 1."],
        ),
        (
            "{min: 1, max: 4096, integer: true}",
            "{min: 68, max: model.num_layers, power_of_two: true}",
            ["max model.num_layers = 80; the nearest are 64 and 128"],
        ),
        (
            "{min: 1, max: 4096, integer: true}",
            "{min: 8, max: 4, power_of_two: true}",
            [":10  free.deployment.batch: min 8 is above max 4. Swapped?"],
        ),
        (
            "{min: 1, max: 4096, integer: true}",
            "{min: 1, max: 1e30, power_of_two: true}",
            [":10  free.deployment.batch.max: is above 1.84467e+19"],
        ),
        (
            "{min: 1, max: 4096, integer: true}",
            "{choices: []}",
            [":10  free.deployment.batch.choices: expected a list of values"],
        ),
        (
            "{min: 1, max: 4096, integer: true}",
            "{choices: [1, 2, 2], min: 1}",
            ["repeats a value", "choices stand alone; drop min"],
        ),
        (
            "{min: 1, max: 4096, integer: true}",
            "{choices: [0, 2]}",
            [":10  free.deployment.batch.choices: 0 is not positive"],
        ),
        (
            "minimize: energy_per_token_server",
            "minimize: energy_per_tokn",
            [":11  minimize: no metric is called", "energy_per_token"],
        ),
        (
            "minimize: energy_per_token_server",
            "maximize: throughput",
            [":11  maximize: unknown key. Did you mean minimize?"],
        ),
        (
            "minimize: energy_per_token_server",
            "minimize: quality.gap",
            [":11  minimize: quality.gap can be negative"],
        ),
        (
            "minimize: energy_per_token_server",
            "minimize: quality.loss_by_law",
            [":11  minimize: no metric", "quality.loss"],
        ),
        (LIMIT, "  - tpot <= 30 ms", [":13  subject_to.0", "time_per_output_token"]),
        (LIMIT, "  - area <= baseline", [":13", "Close: chip.area"]),
        (LIMIT, "  - power < 3 W", [':13  subject_to.0: cannot read "power < 3 W"']),
        (LIMIT, "  - power <= 3", [":13", "power needs a unit", '"3 W"']),
        (LIMIT, "  - power <= 3 GB", [":13", "is an amount of data", "is a power"]),
        (LIMIT, "  - power <= 0 W", [":13", "0 W is not positive"]),
        (LIMIT, "  - power <= baselin", [":13", "Did you mean baseline?"]),
        (LIMIT, "  - power <= chip.tpd", [":13", "Close: chip.tdp", "Write metric"]),
        (LIMIT, "  - power <= chip.voltage", [":13", "power is in W", "in V"]),
        (LIMIT, "  - power <= 0 * baseline", [":13", "factor 0 is not positive"]),
        (LIMIT, "  - power <= much more", [":13", "not a quantity", "Write metric"]),
        (LIMIT, "  - power <= 3 W at 0.9", [":13", "power has no draws"]),
        (LIMIT, "  - quality.gap <= 0 at 1", [":13", "between 0 and 1"]),
        (LIMIT, "  - quality.gap <= 0 at most", [":13", "between 0 and 1"]),
        (LIMIT, "  - limits.memory <= 1", [":13", "always on", "off: [memory]"]),
        ("seed: 3", "sed: 3", [":14  search.sed: unknown key. Did you mean seed?"]),
        ("starts: 16", "starts: 0", [":14  search.starts: expected a whole number"]),
        ("seed: 3", "seed: 3.5", [":14  search.seed: expected a whole number"]),
        ("search:", "off: [reticl]\nsearch:", [":14  off: no limit", "reticle"]),
        ("free:", "free: 3\nnote:", [":8  free: expected a mapping"]),
        ("free:", "free: {}\nnote:", [":8  free: no variable is free"]),
        ("minimize: energy_per_token_server\n", "", ["missing key: minimize"]),
    ],
)
def test_problems_name_file_line_path_and_what_is_allowed(
    *, tmp_path: Path, old: str, new: str, messages: list[str]
):
    assert old in TEXT
    found = problems_of(tmp_path, TEXT.replace(old, new))
    assert "study.yaml" in found
    for message in messages:
        assert message in found


def test_all_problems_of_a_file_come_at_once_in_order_of_lines(tmp_path: Path):
    text = (
        TEXT.replace("h100-sxm", "h10O")
        .replace("batch: 64", "bacth: 64")
        .replace("150 W", "2 kW")
        .replace("energy_per_token_server", "energy")
        .replace("30 ms", "30 W")
        .replace("seed", "sed")
    )
    lines = problems_of(tmp_path, text).splitlines()
    numbers = [int(line.split("  ")[0].rpartition(":")[2]) for line in lines]
    assert numbers == sorted(numbers)
    assert numbers == [3, 6, 9, 11, 13, 14]


def test_neither_batch_nor_rate(tmp_path: Path):
    text = TEXT.replace("  batch: 64\n", "").replace("deployment.batch", "chip.dies")
    assert "give either batch" in problems_of(tmp_path, text)


def test_model_without_training_tokens(tmp_path: Path):
    config = Path(__file__).parents[1] / "fixtures" / "huggingface" / "llama-3-8b.json"
    text = TEXT.replace("llama-3-70b", str(config))
    found = problems_of(tmp_path, text)
    assert "study.yaml:5  baseline.model: its training tokens are unknown" in found
    told = "  batch: 64\n  set: {model.training_tokens: 15e12 token}"
    assert load(tmp_path, text.replace("  batch: 64", told)).name == "small"


def test_unknown_study_and_absent_file(tmp_path: Path):
    with pytest.raises(UnknownNameError, match="joint_chat"):
        load_study("joint_cat")
    with pytest.raises(InputError, match="no such file"):
        load_study(tmp_path / "absent.yaml")


def test_bad_overrides_of_a_study(tmp_path: Path):
    path = write(tmp_path, TEXT)
    for assignment, message in (
        ("search.seed", "path=value"),
        ("chip.tpd=4 W", "chip.tdp"),
        ("name.x=4", "is not a mapping"),
        ("search.seed=[", "cannot be read"),
    ):
        with pytest.raises(InputError, match=message):
            load_study(path, overrides=[assignment])


def test_every_metric_has_a_unit_and_is_a_single_number():
    units = metric_units()
    assert units["chip.area"].text == "m^2"
    assert units["quality.gap"].text == "1"
    assert not [name for name in units if name.endswith("_by_law")]


def test_baseline_is_the_design_of_the_file(shipped: Study):
    given = shipped.baseline_text
    assert given["chip"] == "h100-sxm"
    for variable in shipped.free:
        assert float(get_path(shipped.baseline, variable.path)) > 0
