"""Problems on equal text, equal answers and a paid training, and two recipes."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import Array

from codesign.config.study import Study
from codesign.core.compiler import cpu_options
from codesign.optimize.problem import (
    ANSWERS,
    Problem,
    Theta,
    build_problem,
    build_theta,
    values_and_constraints,
)
from codesign.optimize.space import Space, build_space
from codesign.optimize.yardstick import build_yardstick
from tests.optimize.studies import load_small

LIFE = (
    "budget=lifetime",
    "answers=equal",
    "request.lifetime_tokens=1e15 token",
    "free.model.training_tokens={min: 5e12 token, max: 45e12 token}",
    "free.model.vocab_size={min: 32e3, max: 256e3, multiple_of: 1024}",
    "minimize=lifetime_energy",
    "subject_to=[time_per_byte <= 8 ms/B]",
)
Values = Callable[..., tuple[Array, Array]]


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    return load_small(tmp_path_factory.mktemp("terms"), *LIFE)


@pytest.fixture(scope="module")
def space(study: Study) -> Space:
    return build_space(study)


@pytest.fixture(scope="module")
def problem(*, study: Study, space: Space) -> Problem:
    return build_problem(study, space)


@pytest.fixture(scope="module")
def theta(*, study: Study, space: Space) -> Theta:
    constants = build_yardstick(study).constants
    bounds = np.array([limit.value for limit in study.limits])
    return build_theta(study, space, constants=constants, bounds=bounds)


@pytest.fixture(scope="module")
def values(problem: Problem) -> Values:
    """Objective and constraints at a point, compiled once."""

    def one(point: Array, theta: Theta) -> tuple[Array, Array]:
        return values_and_constraints(problem, point, theta=theta, sharpness=None)

    return jax.jit(one, compiler_options=cpu_options(level=0))


def point(study: Study, space: Space, **changes: float) -> Array:
    found = space.values_of(study.baseline)
    for name, value in changes.items():
        (place,) = [i for i, p in enumerate(space.paths) if p.endswith(f".{name}")]
        found[place] = value
    return jnp.asarray(space.encode(found))


def test_life_is_paid_for_by_tokens_and_by_size(
    *, study: Study, space: Space, theta: Theta, values: Values
):
    """Longer training costs joules at once and saves thought; so does size."""
    plain, longer = (
        values(point(study, space, training_tokens=tokens), theta)[1]
        for tokens in (15e12, 30e12)
    )
    assert float(longer[-1]) < float(plain[-1]), "a better model answers in less"
    no_use = theta.replace(
        design=theta.design.replace(
            request=theta.design.request.replace(lifetime_tokens=jnp.asarray(1.0))
        )
    )
    idle = [
        float(values(point(study, space, training_tokens=t), no_use)[0])
        for t in (15e12, 30e12)
    ]
    assert idle[1] - idle[0] == pytest.approx(np.log(2.0), abs=1e-6)


def test_a_model_that_cannot_answer_breaks_a_limit(
    *, study: Study, space: Space, problem: Problem, theta: Theta, values: Values
):
    assert problem.constraint_names[-1] == ANSWERS
    whole, small = (
        values(point(study, space, num_layers=layers), theta)[1][-1]
        for layers in (80.0, 12.0)
    )
    assert float(whole) < 0.0
    assert float(small) > 0.0
