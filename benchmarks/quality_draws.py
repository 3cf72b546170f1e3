"""How fast is quality under all draws, and do few draws stand for many?

    python benchmarks/quality_draws.py               # speed and error, a minute
    python benchmarks/quality_draws.py --seeds 1200  # which seed for the search?
    python benchmarks/quality_draws.py --seeds 60 --draws 256

Designs per second, mean of rounds, at a quantile over 256 draws, on one and on
two threads; errors of quantiles in standard deviations of the gap, against 16384
independent draws, over models and formats that a search meets.
"""

import argparse
import os
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from codesign.config.models import load_model
from codesign.config.quality import (
    load_quality_constants,
    load_quality_draws,
    load_quality_spread,
)
from codesign.config.recipe import Recipe
from codesign.core.checks import enable_x64
from codesign.core.compiler import cpu_options
from codesign.model.transformer import Transformer
from codesign.quality import ensemble
from codesign.quality.ensemble import (
    LAW_VALUES,
    NUM_DRAWS,
    SEARCH_DRAWS,
    Draws,
    paired,
    quantile,
    reference_under,
    scrambled_points,
    smooth_quantile,
)

TOKENS = 15e12
LEVELS = (0.5, 0.8, 0.9)
MANY = 16384
LANES, CALLS, ROUNDS = 64, 50, 5
DESIGNS: tuple[tuple[str, dict[str, float]], ...] = (
    ("llama-3-8b", {}),
    ("llama-3-70b", {"weight_bits": 4, "scale_bits": 0.16}),
    ("llama-3-70b", {"weight_bits": 5, "kv_bits": 4}),
    ("llama-3-70b", {"weight_bits": 8, "activation_bits": 8}),
    ("llama-3-70b", {"weight_bits": 4, "activation_bits": 4}),
    ("llama-3-70b", {"num_kv_heads": 1}),
    ("llama-3-70b", {"num_layers": 140, "num_ffn_layers": 140, "hidden_size": 6144}),
    ("llama-3-70b", {"num_layers": 40, "num_ffn_layers": 40, "hidden_size": 12288}),
    ("llama-3-70b", {"training_tokens": 30e12, "num_layers": 70, "weight_bits": 5}),
    ("llama-3-70b", {"num_experts": 16, "num_active_experts": 2, "expert_size": 14336}),
    ("llama-3-70b", {"num_window_layers": 66, "window_size": 1024}),
    ("llama-3.1-405b", {}),
    ("llama-3.1-405b", {"weight_bits": 4, "scale_bits": 0.16}),
    ("qwen3-30b-a3b", {}),
    ("qwen3-30b-a3b", {"hidden_size": 4096, "num_layers": 80, "expert_size": 1536}),
    ("qwen3-235b-a22b", {}),
    ("qwen3-235b-a22b", {"kv_bits": 4, "num_kv_heads": 2}),
    ("qwen3-coder-480b-a35b", {"weight_bits": 4, "scale_bits": 0.16}),
    ("deepseek-v3", {}),
    ("deepseek-v3", {"weight_bits": 4, "kv_bits": 8}),
    ("gemma-3-27b", {}),
    ("llama-4-maverick", {"weight_bits": 4, "scale_bits": 0.16}),
)


def design(name: str, values: dict[str, float]) -> Transformer:
    """A published model with some values changed."""
    model = load_model(name, training_tokens=TOKENS)
    return model.replace(**{k: jnp.asarray(float(v)) for k, v in values.items()})


def stacked() -> Transformer:
    """All designs in one record."""
    models = [design(name, values) for name, values in DESIGNS]
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *models)


def designs_per_second(threads: int) -> float:
    """Quantiles over all draws, of groups of lanes on threads."""
    reference = reference_under(
        load_quality_draws(count=NUM_DRAWS), design("llama-3-70b", {})
    )
    base = design("qwen3-30b-a3b", {"weight_bits": 4.5, "kv_bits": 6.0})
    widths = jnp.linspace(512.0, 1536.0, LANES)
    models = jax.vmap(lambda width: base.replace(expert_size=width))(widths)

    def one(model: Transformer) -> jax.Array:
        return quantile(jnp.asarray(paired(model, reference).gap), 0.9)

    batch = jax.jit(jax.vmap(one), compiler_options=cpu_options())
    batch(models).block_until_ready()

    def work(calls: int) -> None:
        for _ in range(calls):
            batch(models).block_until_ready()

    began = time.perf_counter()
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(work, [CALLS] * threads))
    return LANES * CALLS * threads / (time.perf_counter() - began)


class Errors:
    """Quantiles of a set of points against those of many independent draws."""

    def __init__(self) -> None:
        self.constants = load_quality_constants(recipe=Recipe(trained=True))
        self.spread = load_quality_spread()
        self.width = LAW_VALUES + len(self.spread.paths)
        models, reference = stacked(), design("llama-3-70b", {})

        def gaps(draws: Draws) -> Any:
            under = reference_under(draws, reference)
            return jax.vmap(lambda model: paired(model, under).gap)(models)

        def smooth(found: jax.Array) -> jax.Array:
            levels = [jax.vmap(partial(smooth_quantile, level=p)) for p in LEVELS]
            return jnp.stack([each(found) for each in levels], axis=1)

        self.gaps, self.smooth = jax.jit(gaps), jax.jit(smooth)
        many = np.random.default_rng(1).uniform(1e-5, 1 - 1e-5, (MANY, self.width))
        truth = self.under(many)
        self.levels = np.quantile(truth, LEVELS, axis=1).T
        self.deviation = truth.std(axis=1)[:, None]

    def under(self, points: np.ndarray) -> np.ndarray:
        """Gaps of all designs at points of the unit cube."""
        old = ensemble.uniform_points
        ensemble.uniform_points = lambda *_: points
        try:
            draws = ensemble.build_draws(self.constants, self.spread, count=len(points))
        finally:
            ensemble.uniform_points = old
        rounded = draws.constants.replace(trained=None)
        return np.asarray(self.gaps(draws.replace(constants=rounded)))

    def of(self, points: np.ndarray) -> np.ndarray:
        """Error of each smooth quantile of each design, in standard deviations."""
        found = np.asarray(self.smooth(self.under(points)))
        return (found - self.levels) / self.deviation


def rms(errors: np.ndarray) -> float:
    """Root mean square over designs and levels."""
    return float(np.sqrt(np.mean(errors**2)))


def show(line: str) -> None:
    """One line on the terminal."""
    sys.stdout.write(f"{line}\n")


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure speed and errors, or compare seeds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=0)
    parser.add_argument("--draws", type=int, default=SEARCH_DRAWS)
    given = parser.parse_args(arguments)
    seeds = given.seeds
    enable_x64()
    errors = Errors()
    if seeds:
        points = partial(scrambled_points, given.draws, errors.width)
        found = sorted((rms(errors.of(points(seed=s))), s) for s in range(seeds))
        for value, seed in (*found[:3], found[len(found) // 2]):
            show(f"seed {seed}: {value:.3f} standard deviations")
        return
    for count in (SEARCH_DRAWS, NUM_DRAWS):
        off = errors.of(ensemble.uniform_points(count, errors.width))
        worst = float(np.max(np.abs(off)))
        show(f"{count} draws: rms {rms(off):.3f}, worst {worst:.2f} deviations")
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else float("nan")
    for threads in (1, 2):
        rates = [designs_per_second(threads) for _ in range(ROUNDS)]
        show(
            f"{threads} threads: {np.median(rates):.3g} designs/s over {NUM_DRAWS} "
            f"draws, {min(rates):.3g} to {max(rates):.3g}, load {load:.1f}"
        )


if __name__ == "__main__":
    main()
