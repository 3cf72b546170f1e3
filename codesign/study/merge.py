"""How do shards that were computed apart become one run?

Folders of the same job -> one folder with every shard once, finished.
"""

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from codesign.core.errors import InputError
from codesign.study.drive import finish
from codesign.study.folder import Run, check_same, create_run, locked, open_run
from codesign.study.runs import write_whole
from codesign.study.shards import shard_path


def merge_runs(folders: Sequence[Path], target: Path) -> dict[str, Any]:
    """Collect the shards of runs of one job in a folder, and finish it.

    Raises:
        InputError: runs of different jobs, or shards that no folder holds.
    """
    runs = [open_run(folder) for folder in folders]
    for run in runs[1:]:
        check_same(run, runs[0])
    whole = runs[0]
    if target.resolve() not in {folder.resolve() for folder in folders}:
        file = folders[0] / "study.yaml"
        text = file.read_text(encoding="utf-8") if file.is_file() else ""
        whole = create_run(runs[0].job, target, study_text=text)
    elif target.resolve() != folders[0].resolve():
        whole = open_run(target)
    with locked(whole.folder):
        for index in whole.missing():
            _collect(index, whole, runs=runs)
        return finish(whole)


def _collect(index: int, whole: Run, *, runs: Sequence[Run]) -> None:
    target = shard_path(whole.folder, index)
    for run in runs:
        source = shard_path(run.folder, index)
        if run.folder == whole.folder or not run.has(index):
            continue
        try:
            write_whole(target, lambda part, path=source: shutil.copyfile(path, part))
        except OSError as error:
            raise InputError(f"{target}: cannot be written ({error}).") from error
        return
