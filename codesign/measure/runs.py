"""How fast does a real transformer serve a batch on this device?

Sizes, batch and lengths -> times of prefill and of each step of decode, and the
row of the run in the columns of ``serving.csv``.
"""

import math
import statistics
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from codesign.core.quantities import Joules, Scalar, Seconds, Watts
from codesign.measure.power import PowerMeter
from codesign.measure.reference import ReferenceTransformer
from codesign.measure.sizes import Sizes

SOURCE = "codesign-measure"
FRAMEWORK = "flax reference"
MILLISECOND = 1e-3
WEIGHT_SPREAD = 0.02  # of random weights, as models are initialised


@dataclass(frozen=True)
class Served:
    """A batch that was served: lengths, seconds of its parts, power (NaN unknown)."""

    model: str
    batch: int
    prompt_length: int
    output_length: int
    prefill: Seconds
    steps: tuple[Seconds, ...]
    power: Watts

    @property
    def duration(self) -> Seconds:
        """Seconds from the prompt to the last token."""
        return self.prefill + sum(self.steps)


class Server:
    """A transformer with random weights, ready to serve batches of one length."""

    def __init__(self, name: str, sizes: Sizes, *, dtype: jnp.dtype) -> None:
        self.name, self.vocabulary = name, sizes.vocab_size
        graph, abstract = nnx.split(
            nnx.eval_shape(lambda: ReferenceTransformer(sizes, dtype=dtype))
        )
        self.weights = _drawn(abstract)

        def step(weights: Any, tokens: Any, *rest: Any) -> Any:
            caches, position = rest
            model = nnx.merge(graph, weights)
            logits, caches = model(tokens, caches, position=position)
            return jnp.argmax(logits, -1)[:, None], caches

        def start(weights: Any, tokens: Any, *, length: int) -> Any:
            empty = nnx.merge(graph, weights).empty(len(tokens), length=length)
            return step(weights, tokens, empty, jnp.zeros((), jnp.int32))

        self.prefill = jax.jit(start, static_argnames="length")
        self.decode = jax.jit(step, donate_argnums=2)

    def serve(
        self,
        batch: int,
        *,
        prompt_length: int,
        output_length: int,
        meter: PowerMeter | None,
    ) -> Served:
        """Serve one batch; the first token comes from the prompt's own step.

        Every step is awaited, as a server does that hands out its tokens. Run once
        before to compile.
        """
        draw = np.random.default_rng(0)
        shape = (batch, prompt_length)
        tokens = jnp.asarray(draw.integers(0, self.vocabulary, shape), jnp.int32)
        length = prompt_length + output_length
        before, began = _joules(meter), time.perf_counter()
        start = began
        token, caches = jax.block_until_ready(
            self.prefill(self.weights, tokens, length=length)
        )
        prefill = time.perf_counter() - start
        steps: list[float] = []
        for made in range(1, output_length):
            position = jnp.asarray(prompt_length + made - 1, jnp.int32)
            start = time.perf_counter()
            token, caches = jax.block_until_ready(
                self.decode(self.weights, token, caches, position)
            )
            steps.append(time.perf_counter() - start)
        elapsed = time.perf_counter() - began
        return Served(
            model=self.name,
            batch=batch,
            prompt_length=prompt_length,
            output_length=output_length,
            prefill=prefill,
            steps=tuple(steps),
            power=(_joules(meter) - before) / elapsed,
        )


@dataclass(frozen=True)
class Setting:
    """What all rows of a measurement share, named as the columns are."""

    gpu: str
    framework_version: str
    weight_bits: int
    act_precision: str
    kv_bits: int


def row_cells(run: Served, setting: Setting) -> dict[str, object]:
    """A run as a row of ``serving.csv``.

    step = duration / L;  age = L / 2, the mean of decode steps 1 to L - 1;
    B / L prompts start per step. The median between tokens holds no prefill,
    because the batch starts at once.
    """
    output, batch = run.output_length, run.batch
    duration = run.duration
    middle = statistics.median(float(step) for step in run.steps)
    return {
        "source": SOURCE,
        "arch": run.model,
        "task": "static batch",
        "framework": FRAMEWORK,
        **asdict(setting),
        "num_gpus": 1,
        "attn_tp": 1,
        "attn_dp": 1,
        "moe_ep": 1,
        "moe_tp": 1,
        "pp": 1,
        "batch": batch,
        "input_len": run.prompt_length,
        "input_len_kind": "measured",
        "output_len": output,
        "output_len_size_biased": output,
        "itl_ms": middle / MILLISECOND,
        "itl_kind": "median",
        "throughput_tok_s": batch * output / duration,
        "power_w": _known(run.power),
        "power_per_gpu_w": _known(run.power),
        "j_per_token": _known(run.power * duration / (batch * output)),
        "step_ms_effective": duration / output / MILLISECOND,
        "step_over_itl": duration / output / middle,
        "num_requests": batch,
        "repeats": 1,
        "mean_age_tokens": output / 2,
        "prefills_per_step": batch / output,
        "unique_share": 1,
        "quality_flag": "",
    }


def model_cells(name: str, sizes: Sizes) -> Mapping[str, object]:
    """A model as a row of the table of models."""
    experts = sizes.num_ffn_layers - sizes.num_dense_layers
    moe_layers = experts if sizes.num_experts > 1 else 0
    attention = sizes.num_layers - sizes.recurrent_layers
    return {
        "arch": name,
        "layers": sizes.num_layers,
        "hidden": sizes.hidden_size,
        "heads": sizes.num_heads,
        "kv_heads": sizes.num_kv_heads,
        "head_dim": sizes.head_size,
        "ffn_dim": sizes.ffn_size,
        "ffn_mats": sizes.num_ffn_matrices,
        "vocab": sizes.vocab_size,
        "tied_embeddings": sizes.tied_embeddings,
        "attention": "mla" if sizes.latent_fraction else "gqa",
        "gated": sizes.gated_attention,
        "attn_layers": attention,
        "window": sizes.window_size,
        "window_layers": sizes.num_window_layers,
        "ffn_layers": sizes.num_ffn_layers - moe_layers,
        "moe_layers": moe_layers,
        "experts": sizes.num_experts if moe_layers else 0,
        "top_k": sizes.num_active_experts if moe_layers else 0,
        "expert_ffn": sizes.expert_size if moe_layers else 0,
        "shared_experts": int(bool(sizes.shared_size)),
        "shared_ffn": sizes.shared_size,
        "mla_q_rank": sizes.query_rank,
        "mla_kv_rank": sizes.kv_rank,
        "mla_rope_dim": sizes.rope_size,
        "mla_nope_dim": sizes.nope_size,
        "mla_v_dim": sizes.value_size,
        "mamba_layers": sizes.recurrent_layers,
        "mamba_inner": sizes.inner_size,
        "mamba_state": sizes.state_size,
        "mamba_groups": sizes.num_groups,
        "mamba_heads": sizes.num_mixer_heads,
    }


def _drawn(abstract: Any) -> Any:
    """Random matrices and norms of one, drawn without a program for each."""
    draw = np.random.default_rng(0)

    def values(leaf: Any) -> np.ndarray:
        if leaf.ndim == 1:
            return np.ones(leaf.shape)
        return WEIGHT_SPREAD * draw.standard_normal(leaf.shape, np.float32)

    return jax.tree.map(lambda leaf: jnp.asarray(values(leaf), leaf.dtype), abstract)


def _joules(meter: PowerMeter | None) -> Joules:
    return math.nan if meter is None else meter.read()


def _known(value: Scalar) -> object:
    return value if math.isfinite(value) else ""
