"""Which question does a study file ask?

A YAML file, with changes -> ``Study``, with the line of every problem.
"""

import copy
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from codesign.config.catalogue import find_preset, presets_directory
from codesign.config.overrides import split_assignment
from codesign.config.question import Study
from codesign.config.study_reader import STUDY_KEYS, StudyReader
from codesign.config.variables import BOUND_KEYS
from codesign.config.yaml import Problems, read_yaml
from codesign.core.checks import check_x64
from codesign.core.errors import InputError

EXAMPLE_STUDY = "joint_chat.yaml"


def load_study(path: str | Path, *, overrides: Sequence[str] = ()) -> Study:
    """The study of a YAML file or of a shipped preset.

    ``overrides`` are ``path=value`` texts: entries of the file, such as
    ``search.seed=1``, or parameters of the baseline, such as ``chip.tdp=500 W``.

    Raises:
        InputError: with file, line and path of every problem.
        Float64DisabledError: 64-bit floats are off.

    Example:
        >>> import codesign.core.checks
        >>> codesign.core.checks.enable_x64()
        >>> study = load_study("joint_chat")
        >>> study.minimize, study.limits[0].value
        ('energy_per_token_server', 0.03)
    """
    check_x64()
    file = find_preset("studies", path)
    document = read_yaml(file)
    data = override_study(document.data, overrides, sections=STUDY_KEYS)
    problems = Problems(file=document.file, lines=document.lines)
    study = StudyReader(data, problems, file=file).study()
    problems.found.sort(key=_line)
    problems.raise_if_any()
    if study is None:
        raise InputError(problems.text())
    return study


def _line(problem: str) -> int:
    """Line that a problem names; 0 where it names none."""
    found = re.match(r"[^:]*:(\d+) ", problem)
    return int(found[1]) if found else 0


def init_study_text() -> str:
    """Text of a commented study to start from: the shipped example."""
    file = presets_directory() / "studies" / EXAMPLE_STUDY
    return file.read_text(encoding="utf-8")


def override_study(
    data: Mapping[str, Any], assignments: Sequence[str], *, sections: Sequence[str]
) -> dict[str, Any]:
    """Data of a study file with assignments in place.

    A path that starts with a section of the file changes that entry
    (``search.seed=1``, ``free.chip.tdp.max=900 W``); any other is a parameter
    of the baseline (``chip.tdp=500 W``).
    """
    changed: dict[str, Any] = copy.deepcopy(dict(data))
    for assignment in assignments:
        path, text = split_assignment(assignment)
        section, _, rest = path.partition(".")
        if section not in sections:
            keys, value = ["baseline", "set", path], text
        else:
            keys, value = [section, *_split_below(section, rest)], _typed(text)
        _insert(changed, keys, value=value)
    return changed


def _split_below(section: str, rest: str) -> list[str]:
    parameter, _, key = rest.rpartition(".")
    if section == "free" and key in BOUND_KEYS and parameter:
        return [parameter, key]
    return [rest] if rest else []


def _insert(data: dict[str, Any], keys: Sequence[str], *, value: Any) -> None:
    for key in keys[:-1]:
        below = data.setdefault(key, {})
        if not isinstance(below, dict):
            raise InputError(f"{'.'.join(keys)}: {key} is not a mapping.")
        data = below
    data[keys[-1]] = value


def _typed(text: str) -> Any:
    """Number, truth value, list or text, as YAML reads it."""
    try:
        return YAML(typ="safe").load(text)
    except YAMLError as error:
        raise InputError(f'"{text}" cannot be read as a YAML value.') from error
