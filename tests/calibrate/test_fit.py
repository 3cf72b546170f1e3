"""A fit finds constants that made the runs, and says how far to trust them."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from codesign.calibrate.fit import Case, Fit, felt, fit
from codesign.calibrate.folds import Folds, leave_one_model_out, predict
from codesign.calibrate.forecast import forecast
from codesign.calibrate.intervals import (
    Interval,
    coverage,
    error_intervals,
    stack_intervals,
)
from codesign.calibrate.runs import Runs, gather_runs
from codesign.config.calibration import Constant, load_constants
from codesign.config.rows import MeasuredRow
from codesign.core.errors import InputError

MODELS = ("llama-3-8b", "qwen3-8b", "qwen3-14b", "gemma-3-12b")
BATCHES = (8, 32, 96, 200)
TRUE = {
    "stack.time_factor_16bit": 0.12,
    "stack.sampling_traffic": -0.3,
    "stack.compute_energy_factor": 0.25,
}


def constant(path: str, *, spread: float = 3.0, tasks: tuple[str, ...] = ()):
    return Constant(
        path=path,
        prior=None,
        spread=spread,
        low=0.0,
        tasks=tasks,
        section="time",
        source="test",
    )


def row(model: str, batch: float, *, chip: str = "H100") -> MeasuredRow:
    return MeasuredRow(
        line=2,
        source="made",
        model=model,
        task="chat",
        chip=chip,
        flag="",
        framework="vllm 0.11.1",
        num_chips=1.0,
        tensor_parallel=1.0,
        data_parallel=1.0,
        expert_parallel=1.0,
        expert_tensor_parallel=1.0,
        pipeline_parallel=1.0,
        weight_bits=16.0,
        activation_bits=16.0,
        kv_bits=16.0,
        batch=batch,
        prompt_length=300.0,
        output_length=500.0,
        output_variation=0.5,
        age=300.0,
        prefills_per_step=batch / 500.0,
        unique_fraction=1.0,
        median_latency=True,
        inter_token_latency=1.0,
        step_time=1.0,
        power=1.0,
        energy_per_token=1.0,
    )


def gathered(rows: Sequence[MeasuredRow]) -> Runs:
    runs, faults = gather_runs(rows, {})
    assert runs is not None
    assert not faults
    return runs


def fit_one(runs: Runs, constants: Sequence[Constant]) -> Fit:
    (found,) = fit([Case(runs, tuple(constants))])
    return found


def made(*, noise: float = 0.0, seed: int = 0) -> Runs:
    """Runs measured on the model itself, with moved constants."""
    runs = gathered([row(m, b) for m in MODELS for b in BATCHES])
    shifts = np.tile(list(TRUE.values()), (len(runs.rows), 1))
    found = forecast(runs, paths=tuple(TRUE), shifts=shifts)
    rng = np.random.default_rng(seed)
    factor = np.exp(noise * rng.normal(size=(4, len(runs.rows))))
    names = ("inter_token_latency", "step_time", "power", "energy_per_token")
    columns = [np.asarray(getattr(found, name)) for name in names]
    rows = tuple(
        replace(
            r,
            **{
                n: float(c[i] * f[i])
                for n, c, f in zip(names, columns, factor, strict=True)
            },
        )
        for i, r in enumerate(runs.rows)
    )
    return replace(runs, rows=rows)


@pytest.fixture(scope="module")
def constants() -> tuple[Constant, ...]:
    return tuple(constant(path) for path in TRUE)


@pytest.fixture(scope="module")
def exact(constants: tuple[Constant, ...]) -> Fit:
    return fit_one(made(), constants)


@pytest.fixture(scope="module")
def folds(constants: tuple[Constant, ...]) -> Folds:
    (found,) = leave_one_model_out([Case(made(noise=0.04), constants)])
    return found


def test_the_constants_that_made_the_runs_are_found(exact: Fit):
    np.testing.assert_allclose(exact.moves, list(TRUE.values()), atol=0.02)
    assert exact.models == len(MODELS)
    assert exact.rows == len(MODELS) * len(BATCHES)


def test_predictions_of_the_fit_are_the_runs(exact: Fit):
    for prediction in predict(made(), exact):
        measured = prediction.row
        assert prediction.step_time == pytest.approx(measured.step_time, rel=0.02)
        assert prediction.power == pytest.approx(measured.power, rel=0.03)


def test_covariance_is_symmetric_and_positive(exact: Fit):
    np.testing.assert_allclose(exact.covariance, exact.covariance.T)
    assert np.all(np.linalg.eigvalsh(exact.covariance) > 0)


def test_a_strong_prior_holds_a_constant(constants: tuple[Constant, ...]):
    """With a hundredth of the spread the first constant stays where it was."""
    stiff = (replace(constants[0], spread=0.001), *constants[1:])
    assert abs(fit_one(made(), stiff).moves[0]) < 0.01


def test_a_constant_stays_above_its_lowest_value(constants: tuple[Constant, ...]):
    shipped = float(made().designs.stack.time_factor_16bit[0])
    floor = (replace(constants[0], low=1.3 * shipped), *constants[1:])
    assert fit_one(made(), floor).moves[0] == pytest.approx(np.log(1.3), abs=1e-3)


@pytest.mark.slow
def test_constants_that_no_run_feels_are_left_out(constants: tuple[Constant, ...]):
    idle = (
        constant("stack.chunked_layer_time"),
        constant("stack.time_factor_8bit"),
        constant("request.prompt_length", tasks=("infill",)),
    )
    assert felt(made(), (*constants, *idle)) == constants


def test_a_constant_of_a_task_moves_only_its_runs():
    runs = made()
    longer = constant("request.prompt_length", tasks=("chat",))
    moved = Fit(
        constants=(longer,),
        moves=np.array([0.5]),
        centre=np.zeros(1),
        covariance=np.eye(1),
        rows=1,
        models=1,
    )
    other = replace(runs, rows=tuple(replace(r, task="code") for r in runs.rows))
    assert np.all(moved.shifts(runs) == 0.5)
    assert np.all(moved.shifts(other) == 0.0)
    before, after = predict(other, moved), predict(runs, moved)
    assert all(a.step_time > b.step_time for a, b in zip(after, before, strict=True))


def test_each_model_is_predicted_by_a_fit_without_it(folds: Folds):
    assert [p.row.model for p in folds.unseen] == [m for m in MODELS for _ in BATCHES]
    seen = predict(made(noise=0.04), folds.fit)
    assert any(
        a.step_time != b.step_time for a, b in zip(seen, folds.unseen, strict=True)
    )
    assert np.all(folds.jackknife > 0)


def test_intervals_hold_most_of_the_runs(folds: Folds):
    intervals = error_intervals(folds.unseen)
    inside = coverage(folds.unseen)
    for metric in ("inter_token_latency", "step_time", "power"):
        assert intervals[metric].low < 0 < intervals[metric].high
        assert 0.6 <= inside[metric] <= 1.0


def test_an_interval_lies_around_its_prediction():
    low, high = Interval(np.log(0.9), np.log(1.2)).around(50.0)
    assert (low, high) == pytest.approx((45.0, 60.0))


def test_fitted_stacks_know_their_errors_and_others_are_wide():
    fitted, wide = stack_intervals("vllm-0.11-h100"), stack_intervals("gpu-default")
    assert fitted.keys() == wide.keys()
    for metric, interval in fitted.items():
        assert interval.high - interval.low < wide[metric].high - wide[metric].low + 0.2
        assert interval.low < 0 < interval.high


REQUESTS = {"stack.request_time": 0.4, "stack.prompt_token_time": -0.5}


def waiting() -> Runs:
    """Runs whose first tokens the model itself gives, constants moved."""
    rows = [
        replace(
            row(model, batch),
            time_to_first_token=1.0,
            burst_share=0.1,
            prompt_length=prompt,
        )
        for model in MODELS[:2]
        for batch in BATCHES[:2]
        for prompt in (300.0, 6000.0)
    ]
    runs = gathered(rows)
    moves = np.tile(list(REQUESTS.values()), (len(rows), 1))
    found = forecast(runs, paths=tuple(REQUESTS), shifts=moves)
    names = ("inter_token_latency", "step_time", "power", "time_to_first_token")
    columns = {name: np.asarray(getattr(found, name)) for name in names}
    measured = (
        {name: float(column[i]) for name, column in columns.items()}
        for i in range(len(rows))
    )
    both = zip(runs.rows, measured, strict=True)
    return replace(runs, rows=tuple(replace(r, **values) for r, values in both))


@pytest.mark.slow
def test_first_tokens_tell_the_constants_of_requests():
    runs = waiting()
    wanted = tuple(constant(path) for path in (*REQUESTS, *TRUE))
    found = fit_one(runs, wanted)
    assert found.moves[:2] == pytest.approx(list(REQUESTS.values()), abs=0.04)
    assert found.moves[2:] == pytest.approx(0.0, abs=0.02)


def test_first_tokens_do_not_move_the_constants_of_a_step(
    constants: tuple[Constant, ...],
):
    runs = waiting()
    later = tuple(
        replace(r, time_to_first_token=5 * r.time_to_first_token) for r in runs.rows
    )
    slow = fit_one(replace(runs, rows=later), constants)
    assert slow.moves == pytest.approx(fit_one(runs, constants).moves, abs=1e-9)
    assert [c.path for c in felt(runs, constants)] == list(TRUE)


def test_stacks_that_agree_are_fitted_together():
    rows = [
        replace(row("qwen3-8b", 8, chip=chip), time_to_first_token=0.1)
        for chip in ("H100", "B200")
    ]
    runs = gathered(rows)
    found = fit_one(runs, [constant("stack.request_time")])
    assert found.rows == 2


def test_runs_on_two_stacks_are_not_fitted_together(constants: tuple[Constant, ...]):
    runs = gathered([row("qwen3-8b", 8), row("qwen3-8b", 8, chip="B200")])
    with pytest.raises(InputError, match=r"vllm-0\.11-b200, vllm-0\.11-h100"):
        fit_one(runs, constants)


def test_a_constant_of_two_stacks_is_informed_by_both():
    """Runs of one stack move the constant of another as far as it is common."""
    seen = made()
    idle = made().take([0])
    factor = replace(constant("stack.time_factor_16bit"), spread=0.3)
    asleep = tuple(
        replace(r, inter_token_latency=np.nan, step_time=np.nan, power=np.nan)
        for r in idle.rows
    )
    unseen = replace(idle, rows=asleep)
    for common in (0.0, 0.5):
        shared = (replace(factor, common=common),)
        known, told = fit([Case(seen, shared), Case(unseen, shared)])
        assert known.moves[0] == pytest.approx(TRUE[factor.path], abs=0.05)
        assert told.moves[0] == pytest.approx(common * known.moves[0], abs=1e-6)
        assert told.covariance[0, 0] > known.covariance[0, 0]


def test_a_model_is_left_out_of_all_stacks():
    """What one stack says of a model does not reach another's prediction of it."""
    shared = (replace(constant("stack.time_factor_16bit"), spread=0.3, common=0.9),)
    cases = [Case(made().take(range(8)), shared), Case(made().take(range(8)), shared)]
    slow = tuple(
        replace(r, inter_token_latency=2 * r.inter_token_latency)
        if r.model == MODELS[0]
        else r
        for r in cases[1].runs.rows
    )
    changed = [cases[0], replace(cases[1], runs=replace(cases[1].runs, rows=slow))]
    before, after = (leave_one_model_out(each)[0] for each in (cases, changed))
    for left, right in zip(before.unseen, after.unseen, strict=True):
        same = left.step_time == pytest.approx(right.step_time, rel=1e-6)
        assert same == (left.row.model == MODELS[0])


def test_too_few_models_are_named(constants: tuple[Constant, ...]):
    with pytest.raises(InputError, match=r"needs 2 models.*1: llama-3-8b"):
        leave_one_model_out([Case(made().take(range(4)), constants)])


def test_chips_of_one_stack_are_fitted_together(constants: tuple[Constant, ...]):
    runs = gathered([row("qwen3-8b", 8), row("qwen3-8b", 8, chip="H200")])
    assert fit_one(runs, constants).rows == 2


def test_shipped_constants_have_priors_with_sources():
    for name in ("serving", "power", "fixed_lengths"):
        for entry in load_constants(name):
            assert entry.spread > 0
            assert entry.source
