"""Which part of the model and of the tokens does one chip see?

Design and step -> degrees of parallelism and tokens of one pipeline stage.
"""

import jax.numpy as jnp

from codesign.core.quantities import Count, Factor, Tokens
from codesign.core.record import Record
from codesign.serving.design import Design
from codesign.serving.load import StepTokens


class Shard(Record):
    """Parallel degrees and the micro-batch of one stage.

    ``tensor`` chips split attention and dense layers, ``pipeline`` stages split
    layers, ``expert`` ranks split experts whose width ``expert_tensor`` chips
    share; ``expert_replicas`` attention replicas send tokens to one expert
    group. ``microbatches`` are in flight at once, so a stage works on a
    ``stage_share`` of the step's tokens at a time.
    """

    tensor: Count
    pipeline: Count
    expert: Count
    expert_tensor: Count
    expert_replicas: Count
    microbatches: Count
    tokens: Tokens
    sequences: Count
    context: Tokens
    prefill_tokens: Tokens
    prompts: Count
    prefill_context: Tokens
    kv_heads: Count
    layer_share: Factor
    queries: Tokens = 1.0


def shard(design: Design, step: StepTokens) -> Shard:
    """The shard of one chip in one step.

    microbatches = min(stages, sequences);  kv heads per chip = max(1, kv / t)

    Assumes: stages hold equal shares of the layers; embedding and head are
    averaged over stages.
    """
    deployment, model = design.deployment, design.model
    tensor, stages = deployment.tensor_parallel, deployment.pipeline_parallel
    expert = deployment.expert_parallel
    group = jnp.maximum(tensor, expert)
    waiting = jnp.maximum(step.sequences, step.prompts)
    in_flight = jnp.maximum(1.0, jnp.minimum(stages, waiting))
    one_head = jnp.minimum(1.0, model.num_kv_heads)
    return Shard(
        tensor=tensor,
        pipeline=stages,
        expert=expert,
        expert_tensor=group / expert,
        expert_replicas=group / tensor,
        microbatches=in_flight,
        tokens=(step.sequences * step.queries + step.prefill_tokens) / in_flight,
        sequences=step.sequences / in_flight,
        queries=step.queries,
        context=step.context,
        prefill_tokens=step.prefill_tokens / in_flight,
        prompts=step.prompts / in_flight,
        prefill_context=step.prefill_context,
        kv_heads=jnp.maximum(one_head, model.num_kv_heads / tensor),
        layer_share=1.0 / stages,
    )
