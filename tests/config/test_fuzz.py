"""Whatever a file or a flag holds, a user reads what is wrong with it."""

import json
import shutil
import string
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from codesign.config.catalogue import presets_directory
from codesign.config.chips import load_chip
from codesign.config.design import build_design, design_to_dict, load_design
from codesign.config.limits import read_limit
from codesign.config.models import load_model
from codesign.config.overrides import parse_overrides
from codesign.config.stacks import load_stack
from codesign.config.study import load_study
from codesign.config.sweep import build_plan
from codesign.config.units import parse_quantity
from codesign.config.yaml import Problems, yaml_text
from codesign.core.errors import CodesignError, InputError
from codesign.core.quantities import Unit
from codesign.model.huggingface import from_huggingface
from codesign.study.folder import open_run
from codesign.study.query import list_runs
from codesign.study.runs import load_run, read_manifest
from tests.study.jobs import new_run

PRESETS = presets_directory()
STUDY = (PRESETS / "studies" / "joint_chat.yaml").read_text(encoding="utf-8")
CHIP = (PRESETS / "chips" / "h100-sxm.yaml").read_text(encoding="utf-8")
MODEL = (PRESETS / "models" / "llama-3-8b.yaml").read_text(encoding="utf-8")
STACK = (PRESETS / "stacks" / "vllm-0.11-h100.yaml").read_text(encoding="utf-8")
JUNK = st.text(alphabet=string.printable + "é\u2028\x00{}[]&*!|>%@`", max_size=12)
ANY = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | JUNK,
    lambda below: (
        st.lists(below, max_size=3) | st.dictionaries(JUNK, below, max_size=3)
    ),
    max_leaves=6,
)


FEW = settings(
    max_examples=40,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@cache
def design_text() -> str:
    design = build_design(
        chip="h100-sxm", model="llama-3-8b", batch=8, prompt_length=64, output_length=9
    )
    return yaml_text(design_to_dict(design))


def damaged(text: str) -> st.SearchStrategy[str]:
    """A text with a piece cut out and some junk in its place."""
    cuts = st.integers(0, len(text))
    return st.builds(
        lambda at, length, junk: text[:at] + junk + text[at + length :],
        cuts,
        st.integers(0, 60),
        JUNK,
    )


def only_input_errors(
    function: Callable[..., object], *arguments: object, **more: object
) -> None:
    """Any other exception than one for users fails the test."""
    with suppress(CodesignError):
        function(*arguments, **more)


@FEW
@given(text=damaged(STUDY))
def test_damaged_study(text: str, tmp_path: Path):
    file = tmp_path / "s.yaml"
    file.write_text(text, encoding="utf-8", newline="")
    only_input_errors(load_study, file)


@FEW
@given(text=damaged(CHIP))
def test_damaged_chip(text: str, tmp_path: Path):
    file = tmp_path / "c.yaml"
    file.write_text(text, encoding="utf-8", newline="")
    only_input_errors(load_chip, file)


@FEW
@given(text=damaged(MODEL))
def test_damaged_model(text: str, tmp_path: Path):
    file = tmp_path / "m.yaml"
    file.write_text(text, encoding="utf-8", newline="")
    only_input_errors(load_model, file)


CONFIGS = sorted((Path(__file__).parents[1] / "fixtures" / "huggingface").glob("*"))


@settings(max_examples=150)
@given(data=st.data())
def test_any_huggingface_config(data: st.DataObject):
    file = data.draw(st.sampled_from(CONFIGS))
    config = json.loads(file.read_text(encoding="utf-8"))
    inner = [v for v in config.values() if isinstance(v, dict) and v]
    place = data.draw(st.sampled_from([config, *inner]))
    place[data.draw(st.sampled_from(sorted(place)))] = data.draw(ANY)
    only_input_errors(from_huggingface, config)


@pytest.mark.parametrize("value", [1e300, float("inf"), float("nan"), 10**9])
def test_endless_layers_end(value: float):
    config = json.loads(CONFIGS[0].read_text(encoding="utf-8"))
    with pytest.raises(InputError, match="num_hidden_layers"):
        from_huggingface({**config, "num_hidden_layers": value})


@FEW
@given(data=st.data())
def test_damaged_design_or_stack(*, data: st.DataObject, tmp_path: Path):
    file = tmp_path / "x.yaml"
    for text, load in ((design_text(), load_design), (STACK, load_stack)):
        damage = data.draw(damaged(text))
        file.write_text(damage, encoding="utf-8", newline="")
        only_input_errors(load, file)


@given(text=st.text(max_size=40))
def test_any_text_as_quantity_override_or_limit(text: str):
    only_input_errors(parse_quantity, text, Unit("B/s"))
    only_input_errors(parse_overrides, [text, f"chip.tdp={text}"])
    read_limit(text, place="x", problems=Problems())
    read_limit(f"power <= {text}", place="x", problems=Problems())


@given(entry=ANY, method=st.sampled_from(["grid", "list", "sobol"]))
def test_any_axis(entry: object, method: str):
    only_input_errors(build_plan, {"chip.tdp": entry}, method=method, points=4)
    only_input_errors(build_plan, entry, method=method)


CORPUS = Path(__file__).parents[1] / "fixtures" / "corpus"
LOADERS: dict[str, tuple[Callable[[Path], object], ...]] = {
    "any": (load_study, load_chip, load_model, load_stack, load_design),
    "study": (load_study,),
    "chip": (load_chip,),
    "model": (load_model,),
}


@pytest.mark.parametrize("file", sorted(CORPUS.glob("*/*.yaml")), ids=lambda f: f.stem)
def test_kept_inputs_are_refused_in_words(file: Path):
    for load in LOADERS[file.parent.name]:
        only_input_errors(load, file)
    if file.parent.name == "any":
        with pytest.raises(InputError):
            load_study(file)


@pytest.mark.parametrize("file", sorted(CORPUS.glob("run/*")), ids=lambda f: f.stem)
def test_kept_runs_are_refused_in_words(file: Path, tmp_path: Path):
    for name in ("job.json", "result.json", "manifest.json"):
        shutil.copyfile(file, tmp_path / name)
    for load in (open_run, load_run, read_manifest, list_runs):
        only_input_errors(load, tmp_path)
    with pytest.raises(InputError):
        open_run(tmp_path)


def test_large_and_binary_files(tmp_path: Path):
    large = tmp_path / "large.yaml"
    large.write_text("a: " + "x" * (5 * 2**20), encoding="utf-8")
    with pytest.raises(InputError, match="larger than 4 MiB"):
        load_study(large)
    binary = tmp_path / "binary.yaml"
    binary.write_bytes(bytes(range(256)))
    with pytest.raises(InputError, match="not valid YAML"):
        load_study(binary)


@pytest.fixture(scope="module")
def job_text(tmp_path_factory: pytest.TempPathFactory) -> str:
    run = new_run(tmp_path_factory.mktemp("fuzz") / "run")
    return (run.folder / "job.json").read_text(encoding="utf-8")


@FEW
@given(data=st.data())
def test_damaged_job(*, data: st.DataObject, job_text: str, tmp_path: Path):
    text = data.draw(damaged(job_text))
    for name in ("job.json", "result.json", "manifest.json"):
        (tmp_path / name).write_text(text, encoding="utf-8", newline="")
    only_input_errors(open_run, tmp_path)
    only_input_errors(load_run, tmp_path)
    only_input_errors(read_manifest, tmp_path)


@FEW
@given(data=st.data())
def test_job_with_an_entry_replaced(
    *, data: st.DataObject, job_text: str, tmp_path: Path
):
    record = json.loads(job_text)
    node = record
    for _ in range(data.draw(st.integers(0, 3))):
        keys = [k for k, v in node.items() if isinstance(v, dict) and v]
        if keys:
            node = node[data.draw(st.sampled_from(sorted(keys)))]
    node[data.draw(st.sampled_from(sorted(node)))] = data.draw(ANY)
    (tmp_path / "job.json").write_text(json.dumps(record), encoding="utf-8")
    only_input_errors(open_run, tmp_path)


def test_study_file_stays_inside_the_run(job_text: str, tmp_path: Path):
    record = json.loads(job_text)
    record["job"]["study"]["file"] = "../../elsewhere.yaml"
    (tmp_path / "job.json").write_text(json.dumps(record), encoding="utf-8")
    assert open_run(tmp_path).job.study.path == tmp_path / "elsewhere.yaml"
