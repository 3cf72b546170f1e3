"""Commands of the README are commands of the program, and the short one runs."""

import json
import re
import shlex
from pathlib import Path

import codesign
from codesign.app.cli import COMMANDS
from tests.app.runner import invoke

ROOT = Path(codesign.__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
COMMAND = re.compile(r"(?:^|[\s/`])codesign ([a-z][a-z-]*[^`\n]*)")


def test_every_command_that_the_readme_names_exists():
    blocks = re.findall(r"^```bash\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
    inline = re.findall(r"`codesign [^`]+`", README)
    named = [c for text in (*blocks, *inline) for c in COMMAND.findall(text)]
    names = {each.__name__.replace("_", "-") for each in COMMANDS}
    assert named
    assert {text.split()[0] for text in named} <= names


def test_files_that_the_readme_names_exist():
    for file in re.findall(r"configs/studies/[\w.]+", README):
        assert (ROOT / file).is_file()


def test_evaluate_of_the_readme_prints_its_energy():
    (line,) = re.findall(r"^codesign (evaluate .*)$", README, re.MULTILINE)
    done = invoke(*shlex.split(line))
    assert done.exit_code == 0, done.stderr
    assert json.loads(done.stdout)["energy_per_token"] > 0
