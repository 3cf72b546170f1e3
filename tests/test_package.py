import importlib.metadata
import subprocess
import sys
from pathlib import Path

import pytest

import codesign

PACKAGE = Path(codesign.__file__).parent
HEAVY = ("jax", "flax", "optax", "numpy", "pydantic", "ruamel", "typer", "plotly")


def _run(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def test_import_is_light():
    code = "import sys, codesign; sys.stdout.write(' '.join(sys.modules))"
    assert not set(HEAVY) & set(_run(code).split())


@pytest.mark.parametrize("name", codesign.__all__)
def test_public_name_resolves(name: str):
    value = getattr(codesign, name)
    assert name in dir(codesign)
    if name in codesign._FOLDERS:
        assert value is sys.modules[f"codesign.{name}"]


def test_optimize_is_a_function_in_its_folder():
    assert callable(codesign.optimize.optimize)


def test_index_lists_every_name_once():
    assert sorted({*codesign._HOMES, *codesign._FOLDERS}) == codesign.__all__


def test_folder_imported_first_is_still_the_function():
    code = (
        "import sys, importlib, codesign\n"
        "folder = importlib.import_module('codesign.optimize')\n"
        "folder.optimize = lambda study, seed: (study, seed)\n"
        "sys.stdout.write(str(codesign.optimize('study', seed=3)))"
    )
    assert _run(code) == "('study', 3)"


def test_unknown_name_suggests_the_nearest():
    with pytest.raises(AttributeError, match=r"'evalute'\. Did you mean 'evaluate'"):
        codesign.evalute  # noqa: B018
    with pytest.raises(AttributeError, match=r"no attribute 'zzz'$"):
        codesign.zzz  # noqa: B018


def test_version_is_the_installed_one():
    assert codesign.__version__ == importlib.metadata.version("codesign")


def test_package_is_typed():
    assert (PACKAGE / "py.typed").is_file()


def test_module_runs_as_program():
    command = [sys.executable, "-m", "codesign", "--help"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "optimize" in done.stdout
