"""Loopback only, no foreign page, nothing from elsewhere, errors as one line.

Nothing here compiles: what needs numbers stands in the tests of the session.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from threading import Event
from typing import Any

import pytest
from starlette.testclient import TestClient

import codesign.explore.server
from codesign.core.errors import InputError
from codesign.explore.server import Tell, build_app
from codesign.explore.session import Session

STATIC = Path(codesign.explore.server.__file__).parent / "static"
HOME = "http://127.0.0.1:8642"
OTHERS = {"host": "rebound.example:8642"}
FOREIGN = {"origin": "http://rebound.example"}


@pytest.fixture(scope="module")
def client(session: Session) -> Iterator[TestClient]:
    with TestClient(build_app(lambda _: session), base_url=HOME) as found:
        events(found.get("/api/start").text)
        yield found


def events(text: str) -> list[tuple[str, Any]]:
    found = re.findall(r"event: (\w+)\ndata: (.*)\n", text)
    return [(name, json.loads(data)) for name, data in found]


def test_page_and_its_parts_are_served(client: TestClient):
    page = client.get("/").text
    for path in re.findall(r'(?:src|href)="([^"]+)"', page):
        assert client.get(path).status_code == 200, path


def test_catalogue_comes_after_the_progress(client: TestClient):
    *_, (name, data) = events(client.get("/api/start").text)
    assert name == "done"
    assert {s["path"] for s in data["sliders"]} >= {"chip.dram.bandwidth", "chip.tdp"}
    assert "h100-sxm" in [chip["name"] for chip in data["chips"]]


@pytest.mark.parametrize("headers", [OTHERS, FOREIGN, {"sec-fetch-site": "cross-site"}])
def test_other_hosts_and_pages_are_refused(client: TestClient, headers: dict[str, str]):
    refused = client.post("/api/evaluate", json={}, headers=headers)
    assert refused.status_code == 403
    assert "refused" in refused.text


@pytest.mark.parametrize("path", ["/", "/api/runs", "/static/js/app.js"])
def test_a_rebound_name_reads_nothing(client: TestClient, path: str):
    assert client.get(path, headers=OTHERS).status_code == 403


@pytest.mark.parametrize("host", ["127.0.0.1:9", "localhost:9", "[::1]:9", "LOCALHOST"])
def test_names_of_loopback_are_served(client: TestClient, host: str):
    headers = {"host": host, "origin": f"http://{host}"}
    assert client.get("/", headers=headers).status_code == 200


def test_forms_of_other_pages_cannot_post(client: TestClient):
    """A form needs no permission of the browser, but cannot send JSON."""
    refused = client.post("/api/evaluate", content="{}")
    assert refused.status_code == 403


def test_large_bodies_are_refused(client: TestClient):
    refused = client.post("/api/evaluate", json={"state": "x" * 300_000})
    assert refused.status_code == 403


def test_every_answer_forbids_other_sources(client: TestClient):
    for found in (client.get("/"), client.get("/api/runs")):
        policy = found.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "http" not in policy


def test_nothing_static_names_another_server():
    for path in STATIC.rglob("*"):
        if path.suffix in {".js", ".css", ".html", ".svg"}:
            text = path.read_text(encoding="utf-8")
            found = set(re.findall(r"https?://[\w./-]+", text))
            assert found <= {"http://www.w3.org/2000/svg", UPLOT}, path.name


UPLOT = "https://github.com/leeoniya/uPlot"  # in a comment of its licence


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"state": {"values": {"chip.tdp": "700 GB/s"}}}, 'Try "700 W"'),
        ({"state": {"chip": "h10O"}}, "no preset is called"),
        ({"limits": ["speed <= 3 ms"]}, "speed"),
    ],
)
def test_bad_input_is_a_line_of_text(client: TestClient, *, body: Any, message: str):
    refused = client.post("/api/evaluate", json=body)
    assert refused.status_code == 400
    assert message in refused.text
    assert "Traceback" not in refused.text


def test_what_is_no_json_is_named(client: TestClient):
    headers = {"content-type": "application/json"}
    refused = client.post("/api/evaluate", content="{", headers=headers)
    assert (refused.status_code, refused.text) == (400, "the request is not JSON.")


def test_no_file_outside_the_page_is_served(client: TestClient):
    for path in ("/static/../server.py", "/static/%2e%2e/server.py", "/api/runs/.."):
        assert client.get(path).status_code in {400, 404}


class Slow:
    """Stands in for a session whose search tells its progress."""

    def optimise(self, data: Any, *, progress: Tell, stop: Event) -> Any:
        progress("halfway")
        if data["fails"]:
            raise InputError("Nothing is unlocked.")
        return {"text": "found", "stopped": stop.is_set()}


@pytest.mark.parametrize(
    ("fails", "last"),
    [
        (False, ("done", {"text": "found", "stopped": False})),
        (True, ("failed", {"text": "Nothing is unlocked."})),
    ],
)
def test_searches_stream_their_progress(fails: bool, last: Any):
    with TestClient(build_app(lambda _: Slow()), base_url=HOME) as client:
        client.get("/")
        found = client.post("/api/optimise", json={"fails": fails})
    assert found.headers["content-type"].startswith("text/event-stream")
    assert events(found.text) == [("progress", {"text": "halfway"}), last]


def test_a_session_that_cannot_open_says_why():
    def opening(_: Tell) -> Any:
        raise InputError("study.yaml:3  chip: no preset.")

    with TestClient(build_app(opening), base_url=HOME) as client:
        *_, last = events(client.get("/api/start").text)
        refused = client.post("/api/evaluate", json={})
    assert last == ("failed", {"text": "study.yaml:3  chip: no preset."})
    assert refused.status_code == 400


def test_a_wheel_holds_the_page():
    wheel = pytest.importorskip("hatchling.builders.wheel")
    root = STATIC.parents[2]
    if not (root / "pyproject.toml").is_file():
        pytest.skip("an installed package has no pyproject.toml")
    builder = wheel.WheelBuilder(str(root))
    packed = {each.distribution_path for each in builder.recurse_included_files()}
    parts = [path for path in STATIC.rglob("*") if path.is_file()]
    assert len(parts) > 10
    for path in parts:
        assert path.relative_to(root).as_posix() in packed
