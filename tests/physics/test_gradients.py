from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from codesign.config.catalogue import list_presets
from codesign.core.compiler import cpu_options
from codesign.core.paths import get_path
from codesign.core.record import as_float64
from codesign.cost.evaluate import evaluate
from codesign.cost.record import Cost
from codesign.cost.total import cost
from codesign.serving.design import Design, set_parameter
from codesign.serving.load import Load, num_replicas, stationary_load
from tests.physics.designs import (
    COSTS,
    EXTRA,
    KINDS,
    METRICS,
    box_jacobian,
    box_point,
    box_rows,
    box_values,
    joint_box,
    preset_design,
    with_values,
)

STEP = 1e-5
BASES = {
    "dense": ("h100-sxm", "llama-3-70b", {"num_chips": 8}),
    "latent": ("b200-sxm", "deepseek-v3", {"num_chips": 8}),
    "recurrent": ("tpu-v4", "nemotron-nano-9b-v2", {"num_chips": 8}),
}


def base(name: str) -> Design:
    chip, model, given = BASES[name]
    return preset_design(chip, model, **given)


def draws(seed: int, *, count: int) -> np.ndarray:
    """Points of the box, half of them dense models."""
    points = joint_box().points(seed, count=count)
    points[::2, joint_box().index("model.num_experts")] = 0.0
    return points


def slopes_by_difference(
    design: Design, points: np.ndarray, *, kind: str
) -> tuple[np.ndarray, np.ndarray]:
    """Central differences, and where the two one-sided slopes disagree (a kink)."""
    count, size = points.shape
    shifts = STEP * np.eye(size)
    spread = points[:, None, :]
    above = box_values(design, (spread + shifts).reshape(-1, size), kind=kind)
    below = box_values(design, (spread - shifts).reshape(-1, size), kind=kind)
    above, below = (x.reshape(count, size, -1) for x in (above, below))
    middle = box_values(design, points, kind=kind)[:, None, :]
    right, left = (above - middle) / STEP, (middle - below) / STEP
    kink = np.abs(right - left) > 1e-6 + 0.01 * np.maximum(abs(right), abs(left))
    return (above - below) / (2 * STEP), kink


def assert_same_slopes(design: Design, points: np.ndarray, *, kind: str) -> None:
    exact = box_jacobian(design, points, kind=kind)
    assert np.isfinite(exact).all()
    measured, kink = slopes_by_difference(design, points, kind=kind)
    dense = points[:, joint_box().index("model.num_experts")] == 0.0
    kink[dense, joint_box().index("model.num_experts")] = True
    assert kink[~dense].mean() < 0.01
    off = ~kink & (np.abs(exact - measured) > 1e-8 + 1e-5 * np.abs(measured))
    worst = [
        f"point {p}: d {METRICS[m]} / d ln {joint_box().paths[v]} = "
        f"{exact[p, v, m]:.9g}, difference {measured[p, v, m]:.9g}"
        for p, v, m in np.argwhere(off)[:12]
    ]
    assert not worst, "\n".join(worst)


@pytest.mark.parametrize("name", BASES)
@pytest.mark.parametrize("kind", KINDS)
def test_slopes_equal_central_differences(kind: str, name: str):
    assert_same_slopes(base(name), draws(len(name), count=4), kind=kind)


@pytest.mark.parametrize("name", BASES)
@pytest.mark.parametrize("kind", ["hard", "smooth"])
def test_slopes_are_finite_in_the_box_and_at_its_corners(kind: str, name: str):
    box = joint_box()
    points = np.concatenate(
        [draws(7, count=10), box.corners(8, count=20), box_point(base(name))[None]]
    )
    slopes = box_jacobian(base(name), points, kind=kind)
    values = box_values(base(name), points, kind=kind)
    bad = np.argwhere(~np.isfinite(slopes))
    named = {f"{METRICS[m]} / {box.paths[v]}" for _, v, m in bad}
    assert not named, sorted(named)
    assert np.isfinite(values).all()


def throttled() -> Design:
    """A design whose power limit binds in both kinds of step."""
    return with_values(base("dense"), deployment__power_limit=350.0)


def off_kinks(design: Design) -> Design:
    """The design a little off its legal values, where tiles and formats end."""
    larger = ("deployment.batch", "model.hidden_size", "model.ffn_size")
    larger = (*larger, "model.num_layers")
    smaller = ("model.num_kv_heads", "model.weight_bits", "model.kv_bits")
    smaller = (*smaller, "deployment.tensor_parallel")
    for paths, factor in ((larger, 1.003), (smaller, 0.997)):
        for path in paths:
            value = factor * get_path(design, path)
            design = set_parameter(design, path, value=value)
    return design


def test_implicit_slope_of_the_governor_equals_central_differences():
    found = evaluate(throttled())
    ceiling = float(throttled().chip.voltage)
    assert float(found.decode_voltage) < ceiling
    assert float(found.prefill_voltage) < ceiling
    point = box_point(off_kinks(throttled()))
    slopes = box_jacobian(throttled(), point[None], kind="governed")[0]
    limit = joint_box().index("deployment.power_limit")
    time = METRICS.index("time_per_output_token")
    assert slopes[limit, time] < -0.01  # more power makes a throttled chip faster
    measured, kink = slopes_by_difference(throttled(), point[None], kind="governed")
    smooth = ~kink[0]
    assert smooth[limit].all()
    assert smooth.mean() > 0.8
    np.testing.assert_allclose(
        slopes[smooth], measured[0][smooth], rtol=1e-5, atol=2e-8
    )


def test_slope_stays_finite_across_the_ridge_of_the_power_limit():
    limits = np.linspace(np.log(250.0), np.log(700.0), 128)
    points = np.tile(box_point(base("dense")), (limits.size, 1))
    index = joint_box().index("deployment.power_limit")
    points[:, index] = limits
    along = np.zeros_like(points)
    along[:, index] = 1.0
    values, slopes = box_rows(base("dense"), points, directions=along, kind="governed")
    assert np.isfinite(values).all()
    assert np.isfinite(slopes).all()
    time = METRICS.index("time_per_output_token")
    assert slopes[0, time] < -0.01
    assert abs(slopes[-1, time]) < 1e-9
    step = limits[1] - limits[0]
    rise = np.diff(values[:, :4], axis=0)
    steepest = np.maximum(abs(slopes[1:, :4]), abs(slopes[:-1, :4]))
    assert (abs(rise) <= 1.05 * steepest * step + 1e-6).all()


def test_no_free_parameter_is_without_effect_in_the_whole_box():
    slopes = box_jacobian(base("dense"), joint_box().points(9, count=64), kind="smooth")
    strongest = np.abs(slopes[:, :, : len(COSTS) + 1]).max(axis=(0, 2))
    flat = [
        path
        for path, slope in zip(joint_box().paths, strongest, strict=True)
        if slope < 1e-6 and path not in EXTRA
    ]
    assert not flat, flat


OPTIONS = cpu_options(level=0)


def log_energy(found: Cost) -> jax.Array:
    return jnp.log(found.energy_per_token_server)


def assert_finite_leaves(slopes: Design) -> None:
    flat, _ = jax.tree_util.tree_flatten_with_path(slopes)
    bad = [
        jax.tree_util.keystr(path, simple=True, separator=".")
        for path, leaf in flat
        if not np.isfinite(leaf).all()
    ]
    assert not bad, bad


Reverse = Callable[[Design], Design]


@pytest.fixture(scope="module")
def reverse() -> Reverse:
    """Slopes of the hard model in every leaf of a design, in reverse mode."""
    return jax.jit(jax.grad(lambda d: log_energy(cost(d))), compiler_options=OPTIONS)


@pytest.mark.parametrize("model", ["llama-3-8b", "deepseek-v3", "nemotron-nano-9b-v2"])
@pytest.mark.parametrize("chip", list_presets("chips"))
def test_reverse_mode_is_finite_in_every_leaf(
    reverse: Reverse, *, chip: str, model: str
):
    assert_finite_leaves(reverse(as_float64(preset_design(chip, model))))


@pytest.mark.parametrize("changed", ["no experts", "one expert", "no cache"])
def test_reverse_mode_is_finite_at_edges(reverse: Reverse, changed: str):
    design = base("dense")
    values = {
        "no experts": {"model__num_experts": 1.0, "model__latent_fraction": 0.0},
        "one expert": {"model__num_experts": 2.0, "model__num_active_experts": 1.0},
        "no cache": {
            "chip__sram__weight_fraction": 0.0,
            "chip__sram__kv_fraction": 0.0,
        },
    }[changed]
    assert_finite_leaves(reverse(as_float64(with_values(design, **values))))


def assert_modes_agree(slopes: Design, design: Design, *, kind: str) -> None:
    forward = box_jacobian(design, box_point(design)[None], kind=kind)[0]
    energy = METRICS.index("energy_per_token_server")
    for index, path in enumerate(joint_box().paths):
        if path == "model.num_layers":
            continue  # also moves num_ffn_layers, see set_parameter
        backward = float(get_path(slopes, path) * get_path(design, path))
        expected = pytest.approx(forward[index, energy], rel=1e-8, abs=1e-10)
        assert backward == expected, path


def test_reverse_mode_equals_forward_mode(reverse: Reverse):
    design = as_float64(off_kinks(base("dense")))
    assert_modes_agree(reverse(design), design, kind="hard")


@pytest.mark.slow
def test_reverse_mode_goes_through_the_governor():
    design = as_float64(off_kinks(throttled()))
    run = jax.jit(
        jax.grad(lambda d: log_energy(evaluate(d, load=stationary(d)))),
        compiler_options=OPTIONS,
    )
    slopes = run(design)
    assert_finite_leaves(slopes)
    assert_modes_agree(slopes, design, kind="governed")


def stationary(design: Design) -> Load:
    """The stationary load, given so that a traced rate is not solved for."""
    replicas = num_replicas(design.system, design.deployment)
    return stationary_load(design.request, design.deployment, replicas=replicas)
