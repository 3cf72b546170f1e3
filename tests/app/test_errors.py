"""Bad input ends with code 2 and a message that says what to do, never a traceback."""

from collections.abc import Callable
from pathlib import Path

import pytest

from codesign.app.cli import app
from codesign.app.errors import guarded
from codesign.core.errors import InfeasibleError, InputError
from tests.app.runner import DESIGN, STUDY, invoke


def _study(folder: Path, old: str, *, new: str) -> Path:
    assert old in STUDY
    file = folder / "study.yaml"
    file.write_text(STUDY.replace(old, new), encoding="utf-8")
    return file


CASES = {
    "unknown chip": (
        "chip: h100-sxm",
        "chip: h10O",
        ["study.yaml:2", 'no preset is called "h10O"', "H100", "codesign presets"],
    ),
    "unknown field": (
        "chip.dram.bandwidth:",
        "chip.hbm_tbsp:",
        ["study.yaml:5", "chip.hbm_tbsp", "unknown", "Close: "],
    ),
    "unknown key of a bound": (
        "{min: 300 W,",
        "{mim: 300 W,",
        ["study.yaml:6", "mim", "Did you mean min?"],
    ),
    "swapped bounds": (
        "{min: 2 TB/s, max: 5 TB/s}",
        "{min: 5 TB/s, max: 2 TB/s}",
        ["study.yaml:5", "free.chip.dram.bandwidth", "5 TB/s", "2 TB/s"],
    ),
    "no unit": (
        "{min: 2 TB/s,",
        "{min: 3.35,",
        ["study.yaml:5", "needs a unit. 3.35 what?"],
    ),
    "wrong dimension": (
        "{min: 300 W,",
        "{min: 700 GB/s,",
        ["study.yaml:6", '"700 GB/s" is a bandwidth', "is a power", '"700 W"'],
    ),
    "unknown metric": (
        "minimize: energy_per_token_server",
        "minimize: energy_per_tokens",
        ["study.yaml:9", "energy_per_tokens", "energy_per_token"],
    ),
    "not YAML": ("free:", "free: [", ["study.yaml:", "not valid YAML"]),
}


@pytest.mark.parametrize("name", CASES)
def test_bad_study_is_explained_with_its_line(name: str, tmp_path: Path):
    old, new, expected = CASES[name]
    done = invoke("optimize", _study(tmp_path, old, new=new), "--quiet")
    assert done.exit_code == 2, done.output
    assert "Traceback" not in done.stderr
    for text in expected:
        assert text in done.stderr


def test_all_problems_of_a_study_are_told_at_once(tmp_path: Path):
    file = _study(tmp_path, "{min: 300 W,", new="{min: 300,")
    text = file.read_text(encoding="utf-8").replace("h100-sxm", "h10O")
    file.write_text(text, encoding="utf-8")
    done = invoke("optimize", file, "--quiet")
    assert "study.yaml:2" in done.stderr
    assert "study.yaml:6" in done.stderr


FLAGS = {
    "unknown chip": (["--chip=h10O"], ["--chip: ", '"h10O"', "H100"]),
    "no unit": (["--power-limit=500"], ["--power-limit", "500 what?"]),
    "wrong dimension": (["--set=chip.tdp=7 GB/s"], ["--set chip.tdp", "bandwidth"]),
    "unknown path": (["--set=chip.dram.bandwith=3 TB/s"], ["chip.dram.bandwidth"]),
    "not an assignment": (["--set=chip.tdp"], ["path=value"]),
    "both loads": (["--rate=4 req/s"], ["--batch", "not both"]),
    "illegal placement": (["--tensor-parallel=3"], ["--tensor-parallel", "divide"]),
    "no such file": (["--model=there/is/none.yaml"], ["--model", "no such file"]),
    "bad suffix": (["--out=result.txt"], ["result.txt", ".json or .yaml"]),
}


@pytest.mark.parametrize("name", FLAGS)
def test_bad_flag_is_explained(name: str):
    flags, expected = FLAGS[name]
    done = invoke("evaluate", *DESIGN, *flags)
    assert done.exit_code == 2, done.output
    for text in expected:
        assert text in done.stderr
    assert "Traceback" not in done.stderr


def test_missing_flags_are_all_named():
    done = invoke("evaluate", "--chip=h100-sxm")
    assert done.exit_code == 2
    for flag in ("--model", "--prompt-length", "--output-length"):
        assert flag in done.stderr


def test_unknown_huggingface_type_names_what_is_missing(tmp_path: Path):
    config = tmp_path / "config.json"
    config.write_text('{"model_type": "foo", "hidden_size": 4096}', encoding="utf-8")
    done = invoke("evaluate", *DESIGN, "--model", config)
    assert done.exit_code == 2
    assert "foo" in done.stderr


def test_unknown_flag_is_bad_input():
    done = invoke("evaluate", "--modle=x")
    assert done.exit_code == 2
    assert "--model" in done.stderr


def test_missing_files_are_named(tmp_path: Path):
    for arguments in (
        ("optimize", "none.yaml"),
        ("evaluate", "none.yaml"),
        ("report", tmp_path),
        ("validate", "--rows", "none.csv"),
        ("presets", "show", "none"),
    ):
        done = invoke(*arguments)
        assert done.exit_code == 2, done.output
        assert "none" in done.stderr or str(tmp_path) in done.stderr


def test_folder_in_use_is_not_overwritten(small_study: Path, tmp_path: Path):
    (tmp_path / "notes.txt").write_text("mine", encoding="utf-8")
    done = invoke("optimize", small_study, "--quiet", "--out", tmp_path)
    assert done.exit_code == 2
    assert "there already" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def _raising(error: BaseException) -> Callable[..., None]:
    def command() -> None:
        raise error

    return guarded(command)


@pytest.mark.parametrize(
    ("error", "code", "text"),
    [
        (InputError("x: bad."), 2, "x: bad."),
        (InfeasibleError("no way."), 3, "no way."),
        (KeyboardInterrupt(), 4, "Interrupted"),
        (ValueError("broken"), 1, "ValueError: broken"),
    ],
)
def test_error_decides_the_exit_code(
    *, error: BaseException, code: int, text: str, capsys: pytest.CaptureFixture[str]
):
    import typer

    with pytest.raises(typer.Exit) as ended:
        _raising(error)()
    shown = capsys.readouterr().err
    assert ended.value.exit_code == code
    assert text in shown
    assert "Traceback" not in shown


def test_debug_shows_the_traceback(capsys: pytest.CaptureFixture[str]):
    import typer

    with pytest.raises(typer.Exit):
        _raising(ValueError("broken"))(debug=True)
    assert "Traceback" in capsys.readouterr().err


def test_every_command_is_guarded():
    for each in app.registered_commands:
        assert hasattr(each.callback, "__wrapped__")
