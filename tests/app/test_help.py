"""Help answers at once, knows every command, and needs no JAX."""

import resource
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

import codesign
from codesign.app.cli import COMMANDS, app
from codesign.app.flags import NUMBER_FLAGS, RECORD_FLAGS
from tests.app.runner import invoke

ROOT = Path(codesign.__file__).resolve().parents[1]
NAMES = [command.__name__.replace("_", "-") for command in COMMANDS]
SLOWEST = 2.5  # times what the interpreter and its command line library take
LIBRARY = "import typer.rich_utils, rich.table"


def _python(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *arguments]
    return subprocess.run(
        command, capture_output=True, text=True, check=False, cwd=ROOT
    )


def _spent(*arguments: str) -> tuple[float, str]:
    """Least processor time of three runs, and what the last one printed."""
    seconds: list[float] = []
    for _ in range(3):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        done = _python(*arguments)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        assert done.returncode == 0, done.stderr
        user, system = (
            getattr(after, name) - getattr(before, name)
            for name in ("ru_utime", "ru_stime")
        )
        seconds.append(user + system)
    return min(seconds), done.stdout


def test_help_is_quick_and_lists_every_command():
    """Against what the libraries take, so that a busy machine is no failure."""
    spent, text = _spent("-m", "codesign", "--help")
    assert all(f" {name} " in text for name in NAMES)
    assert spent < SLOWEST * _spent("-c", LIBRARY)[0]


@pytest.mark.parametrize("arguments", [["--help"], ["optimize", "--help"]])
def test_help_imports_no_numerics(arguments: list[str]):
    code = (
        "import sys\n"
        f"sys.argv = ['codesign', *{arguments}]\n"
        "from codesign.app.cli import main\n"
        "try:\n"
        "    main()\n"
        "except SystemExit:\n"
        "    pass\n"
        "heavy = {'jax', 'numpy', 'flax', 'optax', 'ruamel', 'plotly'}\n"
        "sys.stderr.write(' '.join(heavy & set(sys.modules)))"
    )
    done = _python("-c", code)
    assert done.stderr == ""
    assert "Usage" in done.stdout


def test_first_line_of_optimize_comes_before_jax():
    code = (
        "import sys, builtins\n"
        "sys.argv = ['codesign', 'optimize', 'nothing.yaml']\n"
        "from codesign.app.cli import main\n"
        "sys.modules['jax'] = None\n"
        "main()"
    )
    done = _python("-c", code)
    assert done.stdout.splitlines()[0].endswith("optimize nothing.yaml")


@pytest.mark.parametrize("name", NAMES)
def test_every_command_has_help_with_an_example_or_flags(name: str):
    done = invoke(name, "--help")
    assert done.exit_code == 0
    assert "--debug" in done.stdout


@pytest.mark.parametrize("name", NAMES)
def test_every_command_prints_json(name: str):
    assert "--json" in invoke(name, "--help").stdout


def test_no_command_exists_that_does_nothing():
    registered = [each.callback.__name__ for each in app.registered_commands]
    assert [name.replace("_", "-") for name in registered] == NAMES


def test_unknown_command_names_the_nearest():
    done = invoke("evalute")
    assert done.exit_code == 2
    assert "evaluate" in done.stderr


def test_version():
    assert invoke("--version").stdout == f"codesign {codesign.__version__}\n"


def test_flags_are_the_names_of_build_design():
    from codesign.config.design import PLACES

    assert set(NUMBER_FLAGS) == set(PLACES)
    assert set(RECORD_FLAGS) == {"chip", "draft", "model", "stack"}


COMPLETED = {
    "a command": ("codesign opt", "optimize"),
    "a chip": ("codesign evaluate --chip h100-s", "h100-sxm"),
    "a model": ("codesign sweep --model llama-3-7", "llama-3-70b"),
    "a stack": ("codesign sensitivity --stack ide", "ideal"),
    "a study": ("codesign optimize joint", "joint_chat"),
    "a flag": ("codesign evaluate --tensor-p", "--tensor-parallel"),
}


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
@pytest.mark.parametrize("what", COMPLETED)
def test_shell_completes(what: str, shell: str):
    words, expected = COMPLETED[what]
    asked = {
        "_CODESIGN_COMPLETE": f"complete_{shell}",
        "COMP_WORDS": words,
        "COMP_CWORD": str(words.count(" ")),
        "_TYPER_COMPLETE_ARGS": words,
        "_TYPER_COMPLETE_FISH_ACTION": "get-args",
    }
    done = CliRunner().invoke(app, [], env=asked, prog_name="codesign")
    assert expected in done.stdout


def test_completion_can_be_shown():
    done = invoke("--help")
    assert "--install-completion" in done.stdout
