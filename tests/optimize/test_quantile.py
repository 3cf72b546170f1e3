"""Limits on quality that hold in a share of the draws."""

from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from codesign.config.limits import Limit
from codesign.config.quality import load_quality_constants, load_quality_draws
from codesign.config.study import Study
from codesign.core.record import as_float64
from codesign.optimize.problem import (
    Theta,
    build_problem,
    build_theta,
    hard_evaluator,
    log_quantile,
    values_and_constraints,
)
from codesign.optimize.space import Space, build_space, place
from codesign.outcome.terms import Terms
from codesign.quality.budget import at_equal_compute
from codesign.quality.ensemble import (
    NUM_DRAWS,
    SEARCH_DRAWS,
    Reference,
    paired,
    reference_under,
)
from tests.helpers import tree_finite
from tests.optimize.studies import load_small

LEVEL = 0.8
MANY_LAYERS, FEW_LAYERS = 90.0, 70.0


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    folder = tmp_path_factory.mktemp("quantile")
    return load_small(folder, f"subject_to=[quality.gap <= 0 at {LEVEL}]")


def under(study: Study, count: int) -> Reference:
    return reference_under(load_quality_draws(count=count), study.baseline.model)


@pytest.fixture(scope="module")
def theta(study: Study) -> Theta:
    return build_theta(
        study,
        build_space(study),
        constants=as_float64(load_quality_constants()),
        bounds=np.zeros(1),
        few=under(study, SEARCH_DRAWS),
        many=under(study, NUM_DRAWS),
    )


def test_a_quantile_is_read_from_the_study(study: Study):
    assert study.limits[0].quantile == LEVEL
    assert build_problem(study, build_space(study)).constraint_names[0] == (
        f"quality.gap <= 0 at {LEVEL}"
    )


def test_a_quantile_without_draws_is_an_error(study: Study):
    with pytest.raises(ValueError, match="needs draws"):
        build_theta(
            study,
            build_space(study),
            constants=as_float64(load_quality_constants()),
            bounds=np.zeros(1),
        )


def points(study: Study, space: Space, *, layers: tuple[float, ...]) -> np.ndarray:
    values = np.tile(space.values_of(study.baseline), (len(layers), 1))
    values[:, space.paths.index("model.num_layers")] = layers
    return space.encode(values)


def test_a_legal_design_keeps_the_limit_in_the_share_of_all_draws(
    *, study: Study, theta: Theta
):
    """The constraint is <= 0 exactly where 80 % of 256 draws are no worse."""
    space = build_space(study)
    layers = tuple(np.arange(FEW_LAYERS, MANY_LAYERS))
    batch = points(study, space, layers=layers)
    found = hard_evaluator(build_problem(study, space))(batch, theta)[1][:, 0]
    model = study.baseline.model
    assert theta.many is not None
    for count, value in zip(layers, found, strict=True):
        grown = model.replace(num_layers=jnp.asarray(count))
        share = float(jnp.mean(paired(grown, theta.many).gap <= 0.0))
        assert (share >= LEVEL) == (float(value) <= 0.0), count


def test_the_search_sees_few_draws(*, study: Study, theta: Theta):
    space = build_space(study)
    problem = build_problem(study, space)
    point = jnp.asarray(points(study, space, layers=(MANY_LAYERS,))[0])
    without = theta.replace(many=None)
    found = jax.eval_shape(
        lambda p: values_and_constraints(problem, p, theta=without, sharpness=256.0),
        point,
    )
    assert found[1].shape == (len(problem.constraint_names),)


@pytest.mark.parametrize(
    ("metric", "sense"), [("gap", "<="), ("loss", "<="), ("mmlu", ">=")]
)
@pytest.mark.parametrize(("draws", "sharpness"), [("few", 256.0), ("many", None)])
def test_slopes_are_finite_and_more_layers_loosen(
    *,
    study: Study,
    theta: Theta,
    metric: str,
    sense: str,
    draws: str,
    sharpness: float | None,
):
    limit = Limit(f"quality.{metric}", sense, "", value=0.0, quantile=LEVEL)
    reference = getattr(theta, draws)

    def excess(layers: jax.Array) -> jax.Array:
        drawn = paired(study.baseline.model.replace(num_layers=layers), reference)
        return jnp.asarray(log_quantile(limit, drawn, bound=0.0, sharpness=sharpness))

    found = jax.jit(jax.value_and_grad(excess))(jnp.asarray(60.0))
    assert tree_finite(found)
    assert float(found[1]) < 0.0


def test_few_draws_stand_for_many(*, study: Study, theta: Theta):
    """Layers at which the quantile is zero, on few and on all draws."""
    limit = study.limits[0]
    layers = jnp.linspace(FEW_LAYERS, MANY_LAYERS, 41)

    def excess(count: jax.Array, reference: Reference, *, smooth: bool) -> jax.Array:
        model = study.baseline.model.replace(num_layers=count, weight_bits=8.0)
        sharpness = 256.0 if smooth else None
        drawn = paired(model, reference)
        return jnp.asarray(log_quantile(limit, drawn, bound=0.0, sharpness=sharpness))

    @partial(jax.jit, static_argnames="smooth")
    def along(reference: Reference, *, smooth: bool) -> jax.Array:
        return jax.vmap(lambda n: excess(n, reference, smooth=smooth))(layers)

    assert theta.few is not None
    assert theta.many is not None
    few = along(theta.few, smooth=True)
    many = along(theta.many, smooth=False)
    crossing = [float(layers[int(jnp.argmax(values <= 0.0))]) for values in (few, many)]
    assert crossing[0] == pytest.approx(crossing[1], abs=2.0)


def test_a_budget_of_compute_trains_small_models_longer(*, theta: Theta, study: Study):
    """Half the layers, about twice the tokens; the constraint sees them."""
    space = build_space(study)
    half = points(study, space, layers=(40.0,))
    gaps = []
    for equal in (False, True):
        problem = replace(build_problem(study, space), terms=Terms(compute=equal))
        gaps.append(float(hard_evaluator(problem)(half, theta)[1][0, 0]))
    assert gaps[1] < gaps[0] - 0.2
    design = place(study.baseline, ("model.num_layers",), values=np.array([40.0]))
    trained = at_equal_compute(design.model, reference=theta.reference)
    ratio = float(trained.training_tokens / theta.reference.training_tokens)
    assert ratio == pytest.approx(1.97, abs=0.03)
