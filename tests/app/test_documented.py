"""Every command that a page shows exists, with its flags, and is run by a test."""

import re
import shlex
import shutil
from pathlib import Path

import pytest
import typer

import codesign
from codesign.app.cli import COMMANDS, app
from tests.app.runner import invoke

ROOT = Path(codesign.__file__).resolve().parents[1]
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])
REFERENCE = ROOT / "docs" / "reference" / "commands.md"
NAMES = {command.__name__.replace("_", "-") for command in COMMANDS}
ROOT_FLAGS = {"--version", "--help", "--install-completion", "--show-completion"}
MARKED = re.compile(r"<!-- (run|tested: [^>]+?) -->\n```bash\n(.*?)^```$", re.M | re.S)
FENCE = re.compile(r"^```bash\n(.*?)^```$", re.MULTILINE | re.DOTALL)
GROUP = typer.main.get_command(app)


def shown(text: str) -> list[list[str]]:
    """Words of every call of the program in a text, comments left out."""
    whole = text.replace("\\\n", " ")
    lines = [line for line in whole.splitlines() if re.search(r"\bcodesign ", line)]
    calls = [re.split(r"(?:^|[\s/;&|])codesign ", line)[-1] for line in lines]
    return [shlex.split(call, comments=True) for call in calls]


def documented() -> list[tuple[str, list[str]]]:
    found: list[tuple[str, list[str]]] = []
    for page in PAGES:
        for block in FENCE.findall(page.read_text(encoding="utf-8")):
            name = page.relative_to(ROOT).as_posix()
            found += [(name, words) for words in shown(block)]
    return found


def options(name: str) -> set[str]:
    command = GROUP.commands[name]  # type: ignore[attr-defined]
    parts = [p for p in command.params if p.param_type_name == "option"]
    return {flag for p in parts for flag in p.opts} | {"--help"}


def sections() -> list[tuple[str, str]]:
    return MARKED.findall(REFERENCE.read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    ("page", "words"), documented(), ids=lambda x: x if isinstance(x, str) else x[0]
)
def test_command_and_flags_exist(page: str, words: list[str]):
    flags = {word.partition("=")[0] for word in words if word.startswith("--")}
    if words[0].startswith("-"):
        assert flags <= ROOT_FLAGS, page
        return
    assert words[0] in NAMES, page
    assert flags <= options(words[0]), page


def test_every_command_stands_in_the_reference():
    blocks = [block for _, block in sections()]
    assert {words[0] for block in blocks for words in shown(block)} == NAMES


def test_session_of_the_reference_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    config = ROOT / "tests" / "fixtures" / "huggingface" / "llama-3-8b.json"
    shutil.copy(config, tmp_path / "config.json")
    monkeypatch.chdir(tmp_path)
    blocks = [block for mark, block in sections() if mark == "run"]
    calls = [words for block in blocks for words in shown(block)]
    assert len(calls) > 10
    for words in calls:
        done = invoke(*words)
        assert done.exit_code == 0, f"{words}: {done.output}"
    written = {path.name for path in tmp_path.iterdir()}
    assert {"my_study.yaml", "my_model.yaml", "study.schema.json"} <= written
    assert {"mine.yaml", "line.csv"} <= written


def test_commands_that_take_long_are_run_by_the_tests_they_name():
    for mark, block in sections():
        if mark == "run":
            continue
        files = [ROOT / name for name in mark.removeprefix("tested: ").split()]
        files += [*(ROOT / "tests" / "app").glob("conftest.py")]
        text = "".join(file.read_text(encoding="utf-8") for file in files)
        for words in shown(block):
            called = rf"""(?:invoke|answer|_command|program)\(\s*["']{words[0]}["']"""
            listed = rf"""\[?["']{words[0]}["'],"""
            assert re.search(f"{called}|{listed}", text), f"{words[0]}: not in {mark}"
