"""Where does the outcome of a search live? One folder per run, written whole.

``Result`` and the text of its study -> ``runs/<name>-<time>-<hash>/`` with

    study.yaml      what the user gave        resolved.yaml   every default written out
    best.yaml       the design found          tuned.yaml      the tuned baseline
    result.json     everything, SI            manifest.json   versions, seed, timings
    inputs/         chip, model and stack files that the study names

(while it is searched ``stages/``, from which it goes on after an interruption)
and a folder -> the ``Result`` again.
"""

import hashlib
import json
import os
import platform
import re
import shutil
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from codesign.config.design import locate, save_design
from codesign.config.doubts import study_doubts
from codesign.config.question import Study
from codesign.config.resolved import resolved_study
from codesign.config.units import format_quantity
from codesign.core.errors import InputError
from codesign.core.quantities import Unit
from codesign.optimize.result import Result, Rung
from codesign.study.archive import result_from_dict, result_to_dict

FILED = ("chip", "model", "stack")
LARGEST_JSON = 64 * 2**20
RESULT, MANIFEST, INPUTS, STAGES = "result.json", "manifest.json", "inputs", "stages"
DESIGNS = {"best.yaml": "best", "tuned.yaml": "baseline"}


def new_run_folder(study: Study, *, text: str, parent: Path = Path("runs")) -> Path:
    """Folder of a run that starts now: name, UTC time, hash of the study's text."""
    name = re.sub(r"[^A-Za-z0-9_.-]+", "-", study.name).strip("-.") or "study"
    time = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    return parent / f"{name}-{time}-{_digest(text)[:6]}"


def check_free(folder: Path) -> None:
    """Raise if something is already kept in a folder.

    Raises:
        InputError: the folder holds files, or a file has its name.
    """
    if folder.is_file() or (folder.is_dir() and any(folder.iterdir())):
        raise InputError(f"--out {folder}: is there already. Name a new folder.")


def claim_folder(
    study: Study,
    *,
    text: str,
    out: Path | None,
    resume: Path | None,
    result: str = RESULT,
) -> Path:
    """Folder of a run: the one to go on in, the one named, or a new one.

    ``result`` is the file that a finished run has.

    Raises:
        InputError: both are given, nothing to go on with, or no free folder.
    """
    if resume and out:
        raise InputError("--resume: goes on in its own folder; leave --out away.")
    folder = resume or out or new_run_folder(study, text=text)
    if resume:
        check_resumable(folder, result=result)
    else:
        check_free(folder)
    return folder


def check_resumable(folder: Path, *, result: str = RESULT) -> None:
    """Raise unless a folder holds finished stages of a search, and no result yet.

    Raises:
        InputError: nothing to go on with, or nothing left to do.
    """
    if (folder / result).is_file():
        raise InputError(f"--resume {folder}: is finished; {result} holds the result.")
    if not (folder / STAGES).is_dir():
        raise InputError(
            f"--resume {folder}: holds no finished stages of a search; start it anew."
        )


def save_run(
    result: Result,
    folder: Path,
    *,
    study_text: str,
    argv: Sequence[str] = (),
    versions: Mapping[str, str] | None = None,
) -> Result:
    """Write a run's folder, all of it or nothing; the result as it was kept.

    Stages that a search left in the folder give way to its result.

    Files that the study names are copied beside it, so a run explains itself on
    another machine; the result returned refers to those copies.

    Raises:
        InputError: the folder cannot be written.
    """
    staging = folder.with_name(f".{folder.name}.part")
    try:
        staging.mkdir(parents=True)
        result = replace(result, study=_with_inputs(result.study, staging))
        _fill(result, staging, study_text=study_text, argv=argv, versions=versions)
        shutil.rmtree(folder / STAGES, ignore_errors=True)
        with suppress(FileNotFoundError):
            folder.rmdir()
        staging.rename(folder)
    except OSError as error:
        raise InputError(f"{folder}: cannot be written ({error.strerror}).") from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return result


def load_run(folder: str | Path) -> Result:
    """The result that a run's folder holds.

    Raises:
        InputError: the folder holds no run, or one of another version.
    """
    file = Path(folder) / RESULT
    data = read_json(file)
    try:
        return result_from_dict(data, folder=Path(folder))
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise InputError(
            f"{file}: cannot be read ({type(error).__name__}: {error}). It may come "
            "from another version; manifest.json names the one."
        ) from error


def read_manifest(folder: str | Path) -> dict[str, Any]:
    """How a run was made: arguments, versions, platform, seed, timings.

    Raises:
        InputError: the folder holds no manifest.
    """
    return read_json(Path(folder) / MANIFEST)


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object of a run's folder.

    Raises:
        InputError: no such file, too large, or not a JSON object.
    """
    if not path.is_file():
        raise InputError(f"{path.parent}: holds no {path.name}; name a run's folder.")
    if path.stat().st_size > LARGEST_JSON:
        raise InputError(f"{path}: is larger than {LARGEST_JSON >> 20} MiB.")
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: is not JSON ({error}).") from error
    if not isinstance(data, dict):
        raise InputError(f"{path}: expected a JSON object.")
    return data


def write_whole(path: Path, write: Callable[[Path], object]) -> None:
    """Let a function write a file under another name, then rename it.

    Readers see the old file or the new one, never a part of it.
    """
    part = path.with_name(f".{path.stem}.{os.getpid()}{path.suffix}")
    try:
        write(part)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def public_argv(argv: Sequence[str]) -> list[str]:
    """Arguments of a command without the folders of this machine.

    Example:
        >>> public_argv(["optimize", "/data/study.yaml", "--out=/data/runs/a"])
        ['optimize', 'study.yaml', '--out=a']
    """
    shown: list[str] = []
    for argument in argv:
        name, equals, value = argument.rpartition("=")
        kept = Path(value).name if Path(value).is_absolute() else value
        shown.append(f"{name}{equals}{kept}")
    return shown


def _fill(
    result: Result,
    folder: Path,
    *,
    study_text: str,
    argv: Sequence[str],
    versions: Mapping[str, str] | None,
) -> None:
    manifest = _manifest(result, study_text) | {
        "argv": public_argv(argv),
        "versions": dict(versions or {}),
    }
    texts = {
        "study.yaml": study_text,
        "resolved.yaml": resolved_study(result.study),
        RESULT: json.dumps(result_to_dict(result), indent=1) + "\n",
        MANIFEST: json.dumps(manifest, indent=2) + "\n",
    }
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8")
    for name, rung in DESIGNS.items():
        kept = getattr(result, rung)
        save_design(
            kept.design, folder / name, comment=_design_comment(result, kept, name=name)
        )


def _design_comment(result: Result, rung: Rung, *, name: str) -> str:
    return (
        f"{rung.name} design of the study {result.study.name}, "
        f"{result.study.minimize} = {rung.objective:.6g} in SI units.\n"
        f"codesign evaluate {name}"
    )


def _manifest(result: Result, text: str) -> dict[str, Any]:
    study = result.study
    load = os.getloadavg() if hasattr(os, "getloadavg") else ()
    return {
        "study": study.name,
        "study_sha256": _digest(text),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "status": result.status,
        "feasible": result.feasible,
        "minimize": study.minimize,
        "objective": {rung.name: rung.objective for rung in result.rungs},
        "unsure": study_doubts(study),
        "seed": study.search.seed,
        "starts": study.search.starts,
        "duration": format_quantity(result.seconds, Unit("s")),
        "timings": {"total": result.seconds, **result.timings},
        "platform": {
            "system": platform.platform(),
            "machine": platform.machine(),
            "processors": os.cpu_count(),
            "load_average": list(load),
        },
    }


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _with_inputs(study: Study, folder: Path) -> Study:
    """The study with the files that it names copied into a folder."""
    renamed: dict[str, str] = {}
    for name in FILED:
        given = study.resolved.get("baseline", {}).get(name)
        source = Path(str(locate(str(given), study.path.resolve().parent)))
        if given is not None and source.is_file():
            (folder / INPUTS).mkdir(exist_ok=True)
            shutil.copyfile(source, folder / INPUTS / source.name)
            renamed[name] = f"{INPUTS}/{source.name}"
    resolved = dict(study.resolved)
    resolved["baseline"] = {**resolved.get("baseline", {}), **renamed}
    text = {**study.baseline_text, **renamed}
    return replace(study, resolved=resolved, baseline_text=text)
