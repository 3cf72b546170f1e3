"""What the page is told: numbers of ``evaluate``, slopes of ``sensitivity``."""

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from starlette.testclient import TestClient

from codesign.calibrate.intervals import stack_intervals
from codesign.config.design import build_design, load_design, save_design
from codesign.config.limits import metric_units
from codesign.config.study import load_study
from codesign.core.errors import InputError, UnknownNameError
from codesign.cost.evaluate import evaluate
from codesign.explore.frame import look, slope
from codesign.explore.opening import open_session
from codesign.explore.server import build_app
from codesign.explore.session import Session
from codesign.optimize.sensitivity import elasticities
from codesign.serving.design import Design

CHANGED: dict[str, Any] = {
    "chip.dram.bandwidth": "4 TB/s",
    "deployment.batch": "96",
    "model.num_layers": "72",
    "request.prefix_hit_fraction": "0.2",
}


def asked(**more: Any) -> dict[str, Any]:
    return {"state": {"values": dict(CHANGED)}, **more}


def design_of(session: Session, data: dict[str, Any], *, folder: Path) -> Design:
    file = folder / "design.yaml"
    file.write_text(session.export({**data, "form": "design"}), encoding="utf-8")
    return load_design(file)


def test_metrics_are_those_of_evaluate(session: Session, tmp_path: Path):
    found = session.evaluate(asked())["metrics"]
    cost = evaluate(design_of(session, asked(), folder=tmp_path))
    for name in ("energy_per_token", "time_to_first_token", "usd_per_token", "power"):
        assert found[name]["value"] == pytest.approx(float(getattr(cost, name)))


def test_the_server_gives_the_same_numbers_and_steps(session: Session):
    app = build_app(lambda _: session)
    with TestClient(app, base_url="http://127.0.0.1:8642") as client:
        client.get("/api/start")
        shown = client.post("/api/evaluate", json=asked()).json()
        step = client.post("/api/step", json=asked(limits=[])).json()
        text = client.post("/api/export", json=asked(form="python")).text
    known = session.evaluate(asked())
    assert shown["metrics"] == known["metrics"]
    assert shown["elasticities"] == known["elasticities"]
    assert step["after"] < step["before"]
    assert "cd.build_design(" in text


@pytest.mark.parametrize("of", ["energy_per_token_server", "time_to_first_token"])
def test_slopes_are_those_of_sensitivity(session: Session, *, tmp_path: Path, of: str):
    shown = session.evaluate(asked(of=of))["elasticities"]
    design = design_of(session, asked(), folder=tmp_path)
    known = elasticities(design, of=of)
    known["model.num_layers"] += known["model.num_ffn_layers"]
    known["chip.tdp"] += known["deployment.power_limit"]
    known["chip.voltage"] += known["deployment.decode_voltage"]
    known["chip.voltage"] += known["deployment.prefill_voltage"]
    compared = {p: e for p, e in shown.items() if e is not None}
    assert len(compared) > 20
    for path, value in compared.items():
        assert value == pytest.approx(known[path], rel=1e-6, abs=1e-9), path


def test_slopes_of_layers_and_quality_are_those_of_the_slider(session: Session):
    """Central differences of what the page itself shows."""
    for of, path, middle in (
        ("energy_per_token", "model.num_layers", 72.0),
        ("quality.gap", "model.hidden_size", 8192.0),
    ):
        ends = []
        for factor in (1 + 1e-4, 1 - 1e-4):
            state = {"values": {**CHANGED, path: repr(middle * factor)}}
            ends.append(session.evaluate({"state": state, "of": of})["metrics"][of])
        here = session.evaluate(asked(of=of))
        size = 1.0 if of.startswith("quality") else here["metrics"][of]["value"]
        difference = (ends[0]["value"] - ends[1]["value"]) / 2e-4 / size
        assert here["elasticities"][path] == pytest.approx(difference, rel=1e-4)


def test_a_parameter_at_zero_has_no_elasticity(session: Session):
    shown = session.evaluate({})["elasticities"]
    assert shown["request.prefix_hit_fraction"] is None
    assert shown["chip.dram.bandwidth"] < 0


def test_intervals_are_those_of_the_stack(session: Session):
    found = session.evaluate(asked())
    energy = found["metrics"]["energy_per_token"]
    ends = stack_intervals("vllm-0.11-h100")["energy_per_token"]
    assert energy["low"] == pytest.approx(energy["value"] * np.exp(ends.low))
    assert energy["high"] == pytest.approx(energy["value"] * np.exp(ends.high))
    rate, step = (found["metrics"][n] for n in ("throughput", "time_per_output_token"))
    assert rate["low"] < rate["value"] < rate["high"]
    assert rate["low"] / rate["value"] == pytest.approx(step["value"] / step["high"])
    assert found["metrics"]["usd_per_token"]["low"] is None


def test_changes_count_from_the_pinned_design(session: Session):
    alone = session.evaluate(asked())["metrics"]["power"]["value"]
    found = session.evaluate({"state": {}, "pin": asked()["state"]})["metrics"]["power"]
    assert found["pinned"] == pytest.approx(alone)
    assert found["value"] != pytest.approx(alone)


def test_limits_on_the_baseline_refer_to_the_pinned_design(session: Session):
    wider = {"values": {"chip.sram.capacity": "200 MB"}}
    found = session.evaluate({"state": wider})["limits"]
    area = next(use for use in found if use["title"] == "chip.area <= baseline")
    assert area["broken"]
    same = session.evaluate({"state": wider, "pin": wider})["limits"]
    assert not next(use for use in same if use["title"] == area["title"])["broken"]


def test_a_design_that_does_not_fit_breaks_memory(session: Session):
    values = {"system.num_chips": "1", "deployment.tensor_parallel": "1"}
    found = session.evaluate({"state": {"values": values}})["limits"]
    assert next(use for use in found if use["title"] == "memory")["broken"]


def test_breakdowns_sum_to_the_metrics(session: Session):
    found = session.evaluate(asked())
    joules = sum(row["decode"] + row["prefill"] for row in found["energy"])
    server = joules + sum(row["server"] for row in found["energy"])
    assert joules == pytest.approx(found["metrics"]["energy_per_token"]["value"])
    whole = found["metrics"]["energy_per_token_server"]["value"]
    assert server == pytest.approx(whole)
    assert sum(found["die"]["parts"].values()) == pytest.approx(found["die"]["area"])


def test_roofline_stays_under_its_roofs(session: Session):
    found = session.roofline(asked())
    fastest = max(memory["bandwidth"] for memory in found["memories"])
    top = max(peak["peak"] for peak in found["peaks"])
    assert {o["step"] for o in found["operators"]} == {"decode", "prompt"}
    for o in found["operators"]:
        assert o["rate"] <= min(top, fastest * o["intensity"]) * 1.05, o["name"]


def test_slice_goes_through_the_design(session: Session):
    found = session.slice(asked(path="chip.dram.bandwidth"))
    ys = [point["y"] for point in found["points"]]
    assert found["at"] == pytest.approx(4e12)
    assert all(a >= b - 1e-9 for a, b in pairwise(ys))


@pytest.mark.parametrize("of", ["energy_per_token_server", "throughput"])
def test_a_step_improves_the_metric_and_breaks_no_limit(session: Session, of: str):
    before = session.evaluate({"of": of})
    step = session.step({"of": of})
    after = session.evaluate({"state": step["state"], "of": of})
    assert step["moved"]
    new, old = (each["metrics"][of]["value"] for each in (after, before))
    assert (new > old) if of == "throughput" else (new < old)
    for a, b in zip(after["limits"], before["limits"], strict=True):
        assert a["excess"] <= max(b["excess"], 0.0) + 1e-6, a["title"]


def test_a_step_leaves_what_is_locked(session: Session):
    step = session.step({"unlocked": ["deployment.batch"]})
    assert set(step["state"]["values"]) == {"deployment.batch"}
    still = session.step({"unlocked": []})
    assert not still["moved"]
    assert "No unlocked variable" in still["text"]


def test_steps_come_to_a_halt_at_the_limits(session: Session):
    """Batch alone: steps go up until the limit on latency, and stay."""
    data: dict[str, Any] = {"unlocked": ["deployment.batch"], "state": {}}
    for _ in range(12):
        step = session.step(data)
        data["state"] = step["state"]
    last = session.evaluate(data)
    bound = [u for u in last["limits"] if u["title"].startswith("time_per_output")]
    assert not step["moved"]
    assert -0.05 < bound[0]["excess"] <= 1e-6


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"of": "enrgy_per_token"}, "enrgy_per_token: no such metric"),
        ({"limits": ["tpot <= 3 ms"]}, "time_per_output_token"),
        ({"limits": "none"}, "expected a list"),
        ({"state": {"source": "../etc"}}, "no run is called"),
        ({"state": {"source": "front/../../secret"}}, "no run is called|no design"),
        (None, "expected a JSON object"),
    ],
)
def test_bad_requests_are_named(session: Session, *, data: Any, message: str):
    with pytest.raises((InputError, UnknownNameError), match=message):
        session.evaluate(data)


def test_searches_say_what_cannot_be_asked(session: Session):
    for data, message in (
        ({"unlocked": []}, "unlock what may change"),
        ({"of": "throughput"}, "more is better"),
        ({"of": "quality.gap"}, "subject_to"),
        ({"starts": 0.5}, "whole number"),
    ):
        with pytest.raises(InputError, match=message):
            session._question(session._asked(data), starts=data.get("starts"))


def test_python_that_is_copied_builds_the_design(session: Session):
    text = session.export(asked(form="python"))
    space: dict[str, Any] = {}
    exec(text, space)  # noqa: S102 - what a user would run
    shown = session.evaluate(asked())["metrics"]["energy_per_token_server"]["value"]
    assert float(space["cost"].energy_per_token_server) == pytest.approx(shown)


def test_study_that_is_copied_loads(session: Session, tmp_path: Path):
    file = tmp_path / "explored.yaml"
    data = asked(form="study", unlocked=["chip.dram.bandwidth", "deployment.batch"])
    file.write_text(session.export(data), encoding="utf-8")
    study = load_study(file)
    assert [v.path for v in study.free] == data["unlocked"]
    assert study.minimize == "energy_per_token_server"
    shown = session.evaluate(asked())["metrics"]["power"]["value"]
    assert float(evaluate(study.baseline).power) == pytest.approx(shown)


def test_a_design_file_can_be_explored(tmp_path: Path):
    """At an arrival rate, on a chip without DRAM, of a model of unknown training."""
    design = build_design(
        chip="groqchip1",
        num_chips=576,
        model="llama-3-70b",
        rate="0.5 req/s",
        prompt_length=1024,
        output_length=256,
        overrides=["model.training_tokens=0 token"],
    )
    file = tmp_path / "lpu.yaml"
    save_design(design, file)
    opened = open_session(file, runs=tmp_path)
    found = opened.evaluate({"limits": []})
    assert "request.rate" in found["values"]
    assert found["values"]["chip.dram.stacks"] == 0
    assert found["elasticities"]["chip.dram.stacks"] is None
    assert found["quality"] is None
    assert found["metrics"]["quality.gap"]["value"] is None
    known = elasticities(design, of="energy_per_token_server", wrt=["request"])
    shown = found["elasticities"]["request.rate"]
    assert shown == pytest.approx(known["request.rate"], rel=1e-6)
    with pytest.raises(InputError, match="from a file"):
        opened.export({"form": "python"})
    with pytest.raises(InputError, match="training_tokens"):
        opened._question(opened._asked({}), starts=None)


def test_every_gradient_is_finite(session: Session):
    design = session._placed(session._asked({}).state)
    for name in metric_units():
        if name.startswith(("breakdown.", "memory.", "chip.")):
            continue
        frame = look(design, name, scale=session.scale)
        values = [slope(frame, s.path) for s in session.sliders]
        assert np.all(np.isfinite(values)), name


def test_a_run_is_listed_and_opened(session: Session, *, runs: Path, tmp_path: Path):
    design = design_of(session, asked(), folder=tmp_path)
    folder = runs / "made"
    folder.mkdir()
    save_design(design, folder / "best.yaml")
    rung = {"name": "tuned", "objective": 1.0, "feasible": True, "cost": {"power": 3.0}}
    texts = {
        "manifest.json": {"kind": "optimize", "created": "2026", "minimize": "power"},
        "result.json": {"rungs": [rung]},
    }
    for name, data in texts.items():
        (folder / name).write_text(json.dumps(data), encoding="utf-8")
    (listed,) = session.library.runs()
    assert listed["run"] == "made"
    assert listed["opens"]
    opened = session.library.run("made")
    assert opened["rungs"][0]["metrics"] == {"power": 3.0}
    shown = session.evaluate({"state": opened["state"]})["metrics"]["power"]["value"]
    here = session.evaluate(asked())["metrics"]["power"]["value"]
    assert shown == pytest.approx(here)


def test_points_of_a_front_on_disk_are_opened(session: Session, runs: Path):
    folder = runs / "front"
    (folder / "designs").mkdir(parents=True)
    design = session._placed(session._asked(asked()).state)
    save_design(design, folder / "designs" / "00.yaml")
    units = {"energy_per_token_server": "J/token", "time_per_output_token": "s/token"}
    point = {"energy_per_token_server": 2.0, "time_per_output_token": 0.02}
    data = {"units": units, "designs": [point]}
    (folder / "front.json").write_text(json.dumps(data), encoding="utf-8")
    opened = session.library.run("front")
    assert (opened["x"], opened["y"]) == tuple(units)[::-1]
    shown = session.evaluate({"state": opened["points"][0]["state"]})
    here = session.evaluate(asked())
    new, old = (each["metrics"]["power"]["value"] for each in (shown, here))
    assert new == pytest.approx(old)
