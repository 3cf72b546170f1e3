"""Every tutorial runs, block by block, in a folder with the files that it shows."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.app.runner import invoke
from tests.optimize.studies import quick_search

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted((ROOT / "docs" / "tutorials").glob("*.md"))
BLOCK = re.compile(
    r"(?:<!-- (?:file: (?P<file>\S+)|(?P<slow>slow)) -->\n)?"
    r"^```(?P<kind>\w*)\n(?P<text>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)


class Block(NamedTuple):
    kind: str
    text: str
    file: str
    slow: bool


def blocks(page: Path) -> Iterator[Block]:
    for found in BLOCK.finditer(page.read_text(encoding="utf-8")):
        slow = found["slow"] is not None
        yield Block(found["kind"], found["text"], found["file"] or "", slow)


def follow(page: Path, *, slow: bool) -> None:
    """Write the files, run the commands and the Python of a page, in its order."""
    space: dict[str, Any] = {}
    for block in blocks(page):
        if block.file:
            Path(block.file).parent.mkdir(parents=True, exist_ok=True)
            Path(block.file).write_text(block.text, encoding="utf-8")
        elif block.slow and not slow:
            continue
        elif block.kind == "python":
            exec(compile(block.text, page.name, "exec"), space)  # noqa: S102
        elif block.kind == "bash":
            for line in block.text.splitlines():
                words = shlex.split(line, comments=True)
                assert words[0] == "codesign", line
                done = invoke(*words[1:])
                assert done.exit_code == 0, f"{line}\n{done.output}"


SEARCHING = [page for page in PAGES if any(block.slow for block in blocks(page))]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_tutorial_runs(*, page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    follow(page, slow=False)


@pytest.mark.slow
@pytest.mark.parametrize("page", SEARCHING, ids=lambda page: page.stem)
def test_searches_of_a_tutorial_run(
    *, page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    with quick_search():
        follow(page, slow=True)
