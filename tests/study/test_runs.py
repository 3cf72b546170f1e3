"""A result that was written is the result that is read."""

import json
from dataclasses import replace
from pathlib import Path

import jax
import numpy as np
import pytest

from codesign.config.quality import load_quality_constants
from codesign.config.question import Study
from codesign.config.study import load_study
from codesign.core.errors import InputError
from codesign.core.paths import get_path
from codesign.core.record import as_float64
from codesign.cost.evaluate import evaluate
from codesign.hardware.chip import Chip
from codesign.optimize.result import (
    Binding,
    Evidence,
    Loosening,
    Relaxation,
    Result,
    Rung,
)
from codesign.quality.evaluate import quality
from codesign.study.archive import variable_paths
from codesign.study.plain import flatten, from_plain, to_plain
from codesign.study.runs import (
    check_free,
    check_resumable,
    load_run,
    new_run_folder,
    read_manifest,
    save_run,
    write_whole,
)
from codesign.study.service import service
from tests.helpers import assert_trees_close, random_record


@pytest.fixture(scope="module")
def study() -> Study:
    return load_study("joint_chat")


@pytest.fixture(scope="module")
def result(study: Study) -> Result:
    design = study.baseline
    values = [float(get_path(design, path)) for path in variable_paths(study)]
    cost = jax.device_get(evaluate(design))
    rung = Rung(
        name="as given",
        design=design,
        cost=cost,
        quality=quality(
            design.model,
            reference=design.model,
            constants=as_float64(load_quality_constants()),
        ),
        service=service(design, cost),
        objective=float(cost.energy_per_token_server),
        violation=-0.25,
        worst="limits.memory",
        values=np.array(values),
        trace=(
            {
                "stage": "relaxed",
                "seconds": 1.5,
                "best": np.inf,
                "feasible": 0.0,
                "lost": 3,
            },
        ),
        lost=np.array([values, [np.nan, *values[1:]]]),
    )
    evidence = Evidence(
        binding=(Binding("limits.memory", 0.0, 0.5),),
        kkt=1e-9,
        relaxed=1.0,
        at_bound=("chip.tdp at its lower bound",),
        elasticities={"chip.tdp": 0.25},
    )
    return Result(
        study=study,
        rungs=(rung, replace(rung, name="tuned", relaxed=1.0, agreement=0.5)),
        evidence=evidence,
        status="All limits are kept.",
        seconds=12.5,
        timings={"tuned": 3.0},
        relaxation=Relaxation(
            single=(),
            joint=(Loosening("power <= 3 W", "power", old=3.0, new=4.0, amount=0.29),),
            holding=(Binding("limits.memory", 0.0, 0.5),),
            nearest=np.array(values),
        ),
    )


def test_record_survives_plain_data():
    chip = random_record(Chip)
    assert_trees_close(from_plain(Chip, json.loads(json.dumps(to_plain(chip)))), chip)
    assert flatten(chip)["dram.bandwidth"] == float(chip.dram.bandwidth)


def test_run_survives_its_folder(result: Result, tmp_path: Path):
    folder = tmp_path / "run"
    save_run(result, folder, study_text="name: x\n", argv=["optimize", "/a/b.yaml"])
    found = load_run(folder)
    assert found.study.free == result.study.free
    assert found.study.limits == result.study.limits
    assert found.study.resolved == result.study.resolved
    assert_trees_close(found.study.baseline, result.study.baseline)
    assert found.evidence == result.evidence
    assert (found.status, found.seconds) == (result.status, result.seconds)
    for new, old in zip(found.rungs, result.rungs, strict=True):
        assert_trees_close(new.cost, old.cost)
        assert_trees_close(new.quality, old.quality)
        assert_trees_close(new.design, old.design)
        np.testing.assert_array_equal(new.values, old.values)
        assert (new.name, new.worst, new.objective) == (
            old.name,
            old.worst,
            old.objective,
        )
        np.testing.assert_array_equal(new.lost, old.lost)
    assert found.num_lost == 6
    assert found.relaxation is not None
    assert result.relaxation is not None
    assert found.relaxation.text == result.relaxation.text
    assert found.relaxation.joint == result.relaxation.joint
    np.testing.assert_array_equal(found.relaxation.nearest, result.relaxation.nearest)
    assert np.isnan(found.rungs[0].relaxed)
    assert read_manifest(folder)["argv"] == ["optimize", "b.yaml"]


def test_a_result_takes_the_place_of_its_stages(result: Result, tmp_path: Path):
    folder = tmp_path / "run"
    with pytest.raises(InputError, match="no finished stages"):
        check_resumable(folder)
    (folder / "stages").mkdir(parents=True)
    (folder / "stages" / "1-tuned.npz").write_bytes(b"x")
    check_resumable(folder)
    save_run(result, folder, study_text="")
    assert not (folder / "stages").exists()
    with pytest.raises(InputError, match="is finished"):
        check_resumable(folder)


def test_failed_write_leaves_nothing(
    *, result: Result, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def fail(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("codesign.study.runs.save_design", fail)
    with pytest.raises(InputError, match="No space left"):
        save_run(result, tmp_path / "run", study_text="")
    assert list(tmp_path.iterdir()) == []


def test_file_is_replaced_whole_or_not_at_all(tmp_path: Path):
    file = tmp_path / "a.txt"
    write_whole(file, lambda part: part.write_text("old", encoding="utf-8"))

    def half(part: Path) -> None:
        part.write_text("ne", encoding="utf-8")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_whole(file, half)
    assert file.read_text(encoding="utf-8") == "old"
    assert list(tmp_path.iterdir()) == [file]


def test_folder_name_says_what_and_when(study: Study):
    name = new_run_folder(study, text="a").name
    assert name.startswith("joint-chat-20")
    assert new_run_folder(study, text="b").name[-6:] != name[-6:]
    odd = replace(study, name="../a b")
    assert new_run_folder(odd, text="a").parent == Path("runs")


def test_folder_must_be_free(tmp_path: Path):
    check_free(tmp_path)
    check_free(tmp_path / "new")
    (tmp_path / "x").touch()
    with pytest.raises(InputError, match="there already"):
        check_free(tmp_path)


def test_other_folders_are_refused(tmp_path: Path):
    with pytest.raises(InputError, match=r"holds no result\.json"):
        load_run(tmp_path)
    with pytest.raises(InputError, match=r"holds no manifest\.json"):
        read_manifest(tmp_path)
    (tmp_path / "result.json").write_text("{}", encoding="utf-8")
    with pytest.raises(InputError, match="another version"):
        load_run(tmp_path)
