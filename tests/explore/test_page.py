"""The page in a real browser: a slider moves, a number follows, nothing leaves."""

import socket
import statistics
import threading
import time
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest
import uvicorn

from codesign.explore.server import build_app
from codesign.explore.session import Session
from tests.explore.browser import Page, chromium, find_chromium

MOVES = 15
SLOWEST = 0.5  # seconds from slider to number on a busy machine; 0.1 on a quiet one

pytestmark = pytest.mark.skipif(
    find_chromium() is None, reason="no Chromium on this machine"
)


@pytest.fixture(scope="module")
def url(session: Session) -> Iterator[str]:
    session.warm(lambda _: None)
    session.roofline({})
    place = socket.create_server(("127.0.0.1", 0))
    app = build_app(lambda _: session)
    server = uvicorn.Server(uvicorn.Config(app, log_level="error"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [place]})
    thread.start()
    yield f"http://127.0.0.1:{place.getsockname()[1]}/"
    server.should_exit = True
    thread.join(20)
    place.close()


@pytest.fixture(scope="module")
def page(url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    with chromium(tmp_path_factory.mktemp("profile")) as found:
        found.open(url)
        settled(found)
        yield found


def settled(page: Page) -> None:
    page.wait("document.body?.dataset.settled > 0")


def go(page: Page, where: str) -> None:
    """Another state by its hash; navigation is not at once."""
    move = f"{{ onpopstate = d; location.hash = {where!r}; }}"
    same = f"location.hash === {where!r}"
    page.run(f"new Promise(d => {{ if ({same}) d(); else {move} }})")
    settled(page)


def number(page: Page, metric: str) -> float:
    text = page.run(f"document.querySelector('[data-metric={metric}]').textContent")
    digits = "".join(c for c in text.replace("−", "-") if c.isdigit() or c in ".-")
    return float(digits)


def press(page: Page, path: str, *, key: str) -> float:
    """Press a key on a slider; seconds until the numbers have changed."""
    count = "performance.getEntriesByName('slider-to-number').length"
    page.run(f"document.querySelector('[data-path=\"{path}\"]').focus()")
    before = page.run(count)
    page.key(key)
    page.wait(f"{count} > {before}")
    entries = "performance.getEntriesByName('slider-to-number')"
    return page.run(f"{entries}.at(-1).duration") / 1e3


def test_a_slider_moves_the_numbers(page: Page, session: Session):
    before = number(page, "time_per_output_token")
    for _ in range(3):
        press(page, "chip.dram.bandwidth", key="PageUp")
    after = number(page, "time_per_output_token")
    assert after < before
    data = {"state": {"values": {"chip.dram.bandwidth": "4.46 TB/s"}}}
    box = page.run("document.querySelector('[data-box=\"chip.dram.bandwidth\"]').value")
    data["state"]["values"]["chip.dram.bandwidth"] = box.replace("\u202f", " ")
    shown = session.evaluate(data)["metrics"]["time_per_output_token"]["value"]
    assert after == pytest.approx(1e3 * shown, rel=5e-3)


def test_slopes_stand_under_the_sliders(page: Page, session: Session):
    texts = page.run(
        "[...document.querySelectorAll('[data-slope]')].map(o =>"
        " [o.dataset.slope, o.textContent])"
    )
    data = {"state": {"values": {"deployment.batch": "64"}}}
    known = session.evaluate(data)["elasticities"]
    assert {path for path, _ in texts} == set(known)
    shown = dict(texts)["deployment.batch"].replace("−", "-")
    assert float(shown) == pytest.approx(known["deployment.batch"], abs=0.1)


def test_numbers_follow_the_slider_at_once(page: Page):
    spent = []
    for index in range(MOVES):
        time.sleep(0.1)
        spent.append(
            press(page, "chip.tdp", key=("ArrowLeft", "ArrowRight")[index % 2])
        )
    assert statistics.median(spent) < SLOWEST


def test_the_state_lives_in_the_url(page: Page):
    press(page, "model.num_kv_heads", key="ArrowLeft")
    found = page.run("location.hash")
    assert "model.num_kv_heads=4" in found
    shown = number(page, "energy_per_token")
    go(page, "")
    assert number(page, "energy_per_token") != shown
    go(page, found)
    assert number(page, "energy_per_token") == shown


def test_a_gradient_step_lowers_the_metric(page: Page):
    go(page, "")
    before = number(page, "energy_per_token_server")
    page.run("document.activeElement.blur()")
    page.key("g")
    page.wait("document.getElementById('message').textContent.startsWith('Step')")
    settled(page)
    assert number(page, "energy_per_token_server") < before


def test_an_error_is_one_line_and_the_design_stays(page: Page):
    before = number(page, "power")
    page.run(
        "{ const box = document.querySelector('[data-box=\"chip.tdp\"]');"
        " box.value = '700 GB/s'; box.dispatchEvent(new Event('change')); }"
    )
    page.wait("document.getElementById('message').className === 'error'")
    text = page.run("document.getElementById('message').textContent")
    assert "chip.tdp is a power" in text
    assert "GB" not in page.run("location.hash")
    press(page, "chip.link.bandwidth", key="ArrowRight")
    assert page.run("document.getElementById('message').className") == ""
    assert number(page, "power") == pytest.approx(before, rel=0.02)


def test_everything_can_be_reached_and_is_named(page: Page):
    nameless = page.run(
        "[...document.querySelectorAll('button, input, select')].filter(e =>"
        " !e.closest('[hidden]') && !(e.ariaLabel || e.textContent.trim() || e.title"
        " || e.placeholder || e.labels?.length)).map(e => e.outerHTML)"
    )
    assert nameless == []


def test_nothing_overflows_at_1280_by_800(page: Page):
    size = page.run(
        "[document.documentElement.scrollWidth, document.documentElement.scrollHeight]"
    )
    assert size[0] <= 1280
    assert size[1] <= 800


def test_colours_follow_the_system_and_the_button(page: Page):
    page.emulate(prefers_color_scheme="dark")
    assert page.wait("document.documentElement.dataset.theme === 'dark'")
    page.run("document.getElementById('theme').click()")
    assert page.run("document.documentElement.dataset.theme") == "light"


@pytest.mark.slow
def test_a_search_tells_its_progress_and_loads_its_design(page: Page):
    go(page, "")
    before = number(page, "energy_per_token_server")
    said = "document.getElementById('message').textContent"
    page.run("document.activeElement.blur()")
    page.key("o")
    page.wait(f"{said}.startsWith('relaxed')", longest=300)
    page.wait(f"{said}.startsWith('Found')", longest=300)
    settled(page)
    assert number(page, "energy_per_token_server") < 0.7 * before
    assert page.run("document.querySelectorAll('.limit.broken').length") == 0
    page.run("history.back()")
    page.wait("document.body.dataset.settled == 0")
    settled(page)
    assert number(page, "energy_per_token_server") == before


@pytest.mark.slow
def test_a_search_can_be_stopped(page: Page):
    go(page, "")
    page.run("document.getElementById('optimise').click()")
    page.wait("!document.getElementById('stop').hidden")
    page.run("document.getElementById('stop').click()")
    page.wait("document.getElementById('message').textContent.startsWith('Stopped')")
    assert page.run("document.getElementById('optimise').disabled") is False


@pytest.mark.slow
def test_a_front_is_traced_and_its_points_load(page: Page):
    go(page, "#tab=pareto")
    page.run("document.getElementById('pareto-points').value = 4")
    page.wait(
        "document.getElementById('trace').click() ||"
        " !document.getElementById('stop').hidden"
    )
    row = "document.querySelector('#front-list button')"
    page.wait(f"{row} !== null", longest=900)
    shown = page.run(f"{row}.lastElementChild.textContent")
    page.run(f"{row}.click()")
    settled(page)
    assert number(page, "energy_per_token_server") == pytest.approx(float(shown))


def test_no_request_left_the_machine_and_nothing_failed(page: Page, url: str):
    page.run("1")
    hosts = {urlsplit(each).netloc for each in page.requests if "://" in each}
    assert hosts == {urlsplit(url).netloc}
    failed = [each for each in page.errors if "400" not in each]
    assert failed == []
