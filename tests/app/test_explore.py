"""The command opens its page at once, says what is wrong, and ends on Ctrl-C."""

import json
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.request import urlopen

import pytest

import codesign
from tests.app.runner import invoke

ROOT = Path(codesign.__file__).resolve().parents[1]


@contextmanager
def exploring(*arguments: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    command = [sys.executable, "-m", "codesign", "explore", "--no-browser", "--json"]
    process = subprocess.Popen(
        [*command, "--port", "0", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    try:
        assert process.stdout is not None
        yield process, json.loads(process.stdout.readline())["url"]
    finally:
        process.kill()
        process.communicate()


def test_page_is_there_before_jax_and_ends_on_an_interrupt():
    with exploring() as (process, url):
        assert url.startswith("http://127.0.0.1:")
        page = urlopen(url, timeout=20)  # noqa: S310 - the address just printed
        assert "codesign explorer" in page.read().decode()
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors


def test_a_bad_study_is_named_on_page_and_terminal(tmp_path: Path):
    study = tmp_path / "bad.yaml"
    study.write_text("name: bad\nbaseline: {chip: h10O}\n", encoding="utf-8")
    with exploring(str(study)) as (process, url):
        events = urlopen(f"{url}api/start", timeout=60)  # noqa: S310
        last = events.read().decode().rpartition("event: ")[2]
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    assert last.startswith("failed")
    assert "bad.yaml" in last
    assert 'no preset is called "h10O"' in errors


def test_a_port_that_is_taken_is_named():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = invoke("explore", "--no-browser", "--port", port)
    assert done.exit_code == 2
    assert f"--port {port}" in done.stderr


def test_only_loopback_is_offered():
    done = invoke("explore", "--help")
    assert "--host" not in done.stdout
    assert done.exit_code == 0


@pytest.mark.parametrize("flag", ["--no-browser", "--port", "--runs", "--set"])
def test_flags_of_the_page_are_documented(flag: str):
    text = (ROOT / "docs" / "how_to" / "explore.md").read_text(encoding="utf-8")
    assert flag in text
