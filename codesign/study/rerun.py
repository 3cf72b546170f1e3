"""Does a run give the same numbers when it is computed again?

Folder of a run -> a new folder with the same question answered anew, and
whether the best value is the same to the last bit.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from codesign.core.errors import InputError
from codesign.optimize import ladder, optimize
from codesign.study.drive import Progress, complete, silent
from codesign.study.executors import Executor, InProcess
from codesign.study.folder import create_run, is_swept, open_run
from codesign.study.runs import MANIFEST, load_run, read_json, read_manifest, save_run


@dataclass(frozen=True)
class Rerun:
    """Best values of a run and of its repetition; None where nothing was legal."""

    folder: Path
    before: float | None
    after: float | None
    versions_differ: tuple[str, ...]

    @property
    def same(self) -> bool:
        """Whether both are the same number, to the last bit."""
        return self.before == self.after


def rerun(
    folder: Path,
    out: Path,
    *,
    executor: Executor | None = None,
    progress: Progress = silent,
    versions: Mapping[str, str] | None = None,
) -> Rerun:
    """Answer the question of a run again, in a new folder.

    Raises:
        InputError: the folder holds no complete run.
    """
    if is_swept(folder):
        return _swept(folder, out, executor=executor or InProcess(), progress=progress)
    return _searched(folder, out, progress=progress, versions=versions or {})


def _swept(folder: Path, out: Path, *, executor: Executor, progress: Progress) -> Rerun:
    kept = open_run(folder)
    manifest = read_json(folder / MANIFEST)
    if "best" not in manifest:
        raise InputError(
            f"{folder}: is not complete. Go on with: codesign sweep --resume {folder}"
        )
    file = folder / "study.yaml"
    text = file.read_text(encoding="utf-8") if file.is_file() else ""
    argv = [str(word) for word in manifest.get("argv", [])]
    run = create_run(kept.job, out, study_text=text, argv=argv)
    complete(run, executor, progress=progress)
    name = kept.job.study.minimize
    best: list[float | None] = [
        (read_json(each / MANIFEST)["best"] or {}).get(name) for each in (folder, out)
    ]
    changed = _changed(kept.identity["versions"], run.identity["versions"])
    return Rerun(out, before=best[0], after=best[1], versions_differ=changed)


def _searched(
    folder: Path, out: Path, *, progress: Progress, versions: Mapping[str, str]
) -> Rerun:
    kept, manifest = load_run(folder), read_manifest(folder)
    search = ladder if "--ladder" in manifest.get("argv", []) else optimize
    found = search(kept.study, progress=_lines(progress))
    file = folder / "study.yaml"
    save_run(
        found,
        out,
        study_text=file.read_text(encoding="utf-8") if file.is_file() else "",
        argv=[str(word) for word in manifest.get("argv", [])],
        versions=versions,
    )
    return Rerun(
        out,
        before=kept.best.objective,
        after=found.best.objective,
        versions_differ=_changed(manifest.get("versions", {}), versions),
    )


def _lines(progress: Progress) -> Callable[[str], None]:
    return lambda line: progress({"event": "stage", "text": line})


def _changed(before: Mapping[str, Any], after: Mapping[str, Any]) -> tuple[str, ...]:
    names = [name for name in after if before.get(name) != after[name]]
    return tuple(f"{name} {before.get(name)} -> {after[name]}" for name in names)
