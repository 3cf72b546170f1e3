"""Prompts of measured runs: published lengths, shared histories, what a cache loses."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from codesign.calibrate.forecast import PROMPT, forecast
from codesign.calibrate.prefix_cache import cached_share
from codesign.calibrate.runs import Runs, gather_runs, window_load
from codesign.calibrate.validate import report_text, validate
from codesign.config.rows import MeasuredRow, RowFile, read_rows

HEADER = (
    "source,arch,task,gpu,num_gpus,weight_bits,act_precision,kv_bits,batch,input_len,"
    "input_len_kind,shared_len,output_len,mean_age_tokens,prefills_per_step,"
    "unique_share,num_requests"
)


def line(
    *,
    source: str = "own",
    task: str = "chat",
    prompt: str = "500,measured,",
    unique: str = "0.25",
    distinct: str = "",
) -> str:
    return (
        f"{source},llama-3-8b,{task},H100,1,16,bf16,16,64,{prompt},200,100,0.3,"
        f"{unique},{distinct}"
    )


def read(folder: Path, *lines: str) -> RowFile:
    path = folder / "rows.csv"
    path.write_text("\n".join([HEADER, *lines]) + "\n", encoding="utf-8")
    return read_rows(path)


def one(folder: Path, text: str) -> MeasuredRow:
    (row,) = read(folder, text).rows
    return row


def runs_of(rows: tuple[MeasuredRow, ...]) -> Runs:
    runs, faults = gather_runs(rows, {})
    assert runs is not None
    assert not faults
    return runs


PUBLISHED = {
    "lm-arena-chat": (674, 394),
    "sourcegraph-fim": (1374, 0),
    "gpqa": (233, 0),
}


@pytest.mark.parametrize("task", PUBLISHED)
def test_inferred_lengths_of_a_public_task_give_way_to_its_own(
    tmp_path: Path, task: str
):
    text = line(source="mlenergy-v3", task=task, prompt="280,inferred,")
    row = one(tmp_path, text)
    assert (row.prompt_length, row.shared_length) == PUBLISHED[task]
    assert row.published_prompts


@pytest.mark.parametrize(
    "text",
    [
        line(source="mlenergy-v3", task="lm-arena-chat"),
        line(task="lm-arena-chat", prompt="500,inferred,"),
        line(source="mlenergy-v3", task="our-own", prompt="500,inferred,"),
    ],
)
def test_other_lengths_stay_as_given(tmp_path: Path, text: str):
    row = one(tmp_path, text)
    assert (row.prompt_length, row.shared_length) == (500.0, 0.0)
    assert not row.published_prompts


def test_report_names_the_lengths_that_were_taken(tmp_path: Path):
    texts = [
        line(source="mlenergy-v3", task=task, prompt="280,inferred,")
        for task in ("lm-arena-chat", "sourcegraph-fim")
    ]
    read(tmp_path, *texts, line())
    text = report_text(validate(tmp_path / "rows.csv"))
    assert "2 runs have inferred prompt lengths" in text
    assert "in tokens: lm-arena-chat 674, sourcegraph-fim 1374" in text
    read(tmp_path, line())
    assert "inferred" not in report_text(validate(tmp_path / "rows.csv"))


def test_more_shared_than_there_is_is_a_fault(tmp_path: Path):
    (fault,) = read(tmp_path, line(prompt="500,measured,500")).faults
    assert fault.line == 2
    assert "shared_len is 500, not below input_len 500" in fault.message


def test_history_is_held_once_and_not_computed_by_hand(tmp_path: Path):
    row = one(tmp_path, line(prompt="500,measured,300"))
    load = window_load(row, repeats_cached=0.5)
    missed = 1 - 0.75 * 0.5
    assert load.prompt_tokens == pytest.approx(200 * missed + 16 * (1 - missed))
    assert load.prompt_tokens + load.hit_tokens == pytest.approx(500.0)
    assert load.context == 300.0


def test_a_recurrent_model_computes_and_holds_all_of_every_prompt(tmp_path: Path):
    shared = "500,measured,300"
    plain = line(prompt=shared)
    hybrid = plain.replace("llama-3-8b", "nemotron-nano-9b-v2")
    runs = runs_of(read(tmp_path, plain, hybrid).rows)
    loads, request = runs.loads, runs.designs.request
    assert np.asarray(loads.prompt_tokens) == pytest.approx(
        [200 * 0.25 + 16 * 0.75, 500.0]
    )
    assert np.asarray(loads.context).tolist() == [300.0, 600.0]
    assert np.asarray(request.prefix_hit_fraction) == pytest.approx([0.6, 0.0])


def cycle(folder: Path, *, distinct: float, batch: float = 10.0) -> MeasuredRow:
    row = one(folder, line(prompt="500,measured,300"))
    return replace(row, distinct_prompts=distinct, batch=batch)


def test_share_of_repeats_in_the_cache_by_hand(tmp_path: Path):
    row = cycle(tmp_path, distinct=110.0)
    free = 50_000 - 10 * 200 - 10 * 100
    between = (110 - 10) * (200 + 200)
    expected = 1 / (1 + (between / free) ** 8)
    assert 0.2 < expected < 0.8
    assert cached_share(row, room=50_000) == pytest.approx(expected)


def test_cache_keeps_what_fits_and_nothing_of_a_longer_scan(tmp_path: Path):
    row = cycle(tmp_path, distinct=110.0)
    assert cached_share(row, room=200_000) > 0.999
    assert cached_share(row, room=20_000) < 0.01
    assert cached_share(row, room=2_000) == 0.0


def test_prompts_that_run_together_need_no_room_between(tmp_path: Path):
    row = cycle(tmp_path, distinct=10.0, batch=20.0)
    assert cached_share(row, room=10 * 200 + 20 * 100 + 1) == 1.0


def test_each_replica_has_a_cache_of_its_own(tmp_path: Path):
    row = replace(cycle(tmp_path, distinct=110.0), data_parallel=4.0)
    assert cached_share(row, room=200_000) == pytest.approx(0.25, rel=1e-3)


def test_a_small_memory_computes_repeats_again(tmp_path: Path):
    few, many, unknown = (
        line(distinct=count, prompt="2000,measured,") for count in ("100", "2000", "")
    )
    loads = runs_of(read(tmp_path, few, many, unknown).rows).loads
    kept, lost, assumed = np.asarray(loads.prompt_tokens)
    assert assumed == pytest.approx(2000 * 0.25 + 16 * 0.75)
    assert kept == pytest.approx(assumed, rel=1e-3)
    assert lost == pytest.approx(2000.0, rel=1e-3)
    assert np.ptp(np.asarray(loads.context)) == 0.0


def test_longer_prompts_leave_history_out_of_the_context(tmp_path: Path):
    texts = [
        line(prompt=p, unique="1") for p in ("500,measured,300", "1000,measured,600")
    ]
    runs = runs_of(read(tmp_path, *texts).rows)
    shifts = np.array([[np.log(2.0)], [0.0]])
    moved = forecast(runs, paths=(PROMPT,), shifts=shifts)
    steps, power = np.asarray(moved.step_time), np.asarray(moved.power)
    assert steps[0] == pytest.approx(steps[1])
    assert power[0] == pytest.approx(power[1])
