"""FLOP, bytes and messages of whole steps against counts by hand."""

import numpy as np
import pytest

from codesign.cost.evaluate import evaluate
from codesign.model.parameters import count_parameters
from codesign.operators.experts import largest_of_normals, touched_experts
from tests.operators.counts import counted, decode, only, prefill, total
from tests.physics.designs import preset_design, with_values

LAYERS, HIDDEN, HEADS, KV_HEADS, HEAD = 80, 8192, 64, 8, 128
PER_LAYER = 2 * HIDDEN * HIDDEN + 2 * HIDDEN * KV_HEADS * HEAD + 3 * HIDDEN * 28672
BODY = LAYERS * PER_LAYER
LM_HEAD = 128256 * HIDDEN


def llama(tensor: float = 8.0, **given: float):
    return preset_design(
        "h100-sxm",
        "llama-3-70b",
        num_chips=8 * max(1, tensor // 8),
        tensor_parallel=tensor,
        **given,
    )


def test_llama_reads_all_its_weights_once_per_decode_step():
    for batch in (1.0, 32.0):
        rows = counted(llama(), decode(batch, context=2000.0))
        read = total(rows, "weight_bytes")
        assert read == pytest.approx((BODY + LM_HEAD) * 2 / 8)
    published = 69.5e9  # 70.6e9 of the model card less the input embedding
    assert published == pytest.approx(BODY + LM_HEAD, rel=0.01)


def test_llama_decode_flops():
    batch, context = 32, 2000
    rows = counted(llama(), decode(batch, context=context))
    attention = 4 * batch * context * LAYERS * HEADS * HEAD
    assert total(rows, "flops") == pytest.approx(
        (2 * (BODY + LM_HEAD) * batch + attention) / 8
    )


@pytest.mark.parametrize("bits", [16.0, 8.0])
def test_llama_reads_its_cache_once_per_decode_step(bits: float):
    batch, context = 32, 2000
    design = with_values(llama(), model__kv_bits=bits)
    rows = counted(design, decode(batch, context=context))
    cache = batch * context * LAYERS * 2 * KV_HEADS * HEAD * bits / 8
    assert total(rows, "cache_bytes") == pytest.approx(cache / 8)


def test_heads_of_the_cache_are_repeated_beyond_their_number():
    at_8 = counted(llama(8.0), decode(32.0, context=2000.0))
    at_16 = counted(llama(16.0), decode(32.0, context=2000.0))
    assert total(at_16, "cache_bytes") == pytest.approx(total(at_8, "cache_bytes"))
    assert only(at_16, "flops", containing="decode attention") == pytest.approx(
        only(at_8, "flops", containing="decode attention") / 2
    )


def test_llama_prefill_flops():
    tokens, prompts = 4096, 2
    mean = tokens / prompts / 2
    rows = counted(llama(), prefill(tokens, prompts=prompts, context=mean))
    attention = 4 * tokens * mean * LAYERS * HEADS * HEAD
    head = 2 * LM_HEAD * prompts
    expected = (2 * BODY * tokens + head + attention) / 8
    assert total(rows, "flops") == pytest.approx(expected)
    assert total(rows, "weight_bytes") == pytest.approx((BODY + LM_HEAD) * 2 / 8)


def test_prefill_reads_each_prompts_cache_once():
    rows = counted(llama(), prefill(4096.0, prompts=2.0, context=1024.0))
    per_prompt = 1024 * LAYERS * 2 * KV_HEADS * HEAD * 2
    assert total(rows, "cache_bytes") == pytest.approx(2 * per_prompt / 8)


@pytest.mark.parametrize(
    ("bits", "stored"), [(16.0, 16.0), (8.0, 8.0), (4.0, 4.25), (3.0, 3.25)]
)
def test_low_precision_weights_carry_their_scales(bits: float, stored: float):
    design = with_values(llama(), model__weight_bits=bits)
    rows = counted(design, decode(1.0, context=100.0))
    # The head keeps 16 bit.
    assert total(rows, "weight_bytes") == pytest.approx(
        (BODY * stored + LM_HEAD * 16) / 8 / 8
    )


def test_collectives_of_tensor_parallelism():
    batch = 32
    rows = counted(llama(), decode(batch, context=2000.0))
    each = 2 * 7 / 8 * batch * HIDDEN * 2
    assert total(rows, "message_bytes") == pytest.approx(2 * LAYERS * each)
    assert total(rows, "num_messages") == 2 * LAYERS


def test_pipeline_stages_share_layers_and_sequences():
    batch, context = 32, 2000
    design = llama(2.0, pipeline_parallel=4.0)
    rows = counted(design, decode(batch, context=context))
    whole = counted(llama(2.0), decode(batch, context=context))
    # Four micro-batches are in flight; a stage holds a quarter of the layers.
    assert total(rows, "weight_bytes") == pytest.approx(
        total(whole, "weight_bytes") / 4
    )
    assert 4 * 4 * total(rows, "flops") == pytest.approx(total(whole, "flops"))
    assert 4 * 4 * total(rows, "cache_bytes") == pytest.approx(
        total(whole, "cache_bytes")
    )
    sent = only(rows, "message_bytes", containing="pipeline")
    assert sent == pytest.approx(batch / 4 * HIDDEN * 2 / 2)
    assert only(whole, "message_bytes", containing="pipeline") == 0.0


def test_single_sequence_passes_the_pipeline_alone():
    rows = counted(llama(2.0, pipeline_parallel=4.0), decode(1.0, context=2000.0))
    attention = 4 * 2000 * LAYERS * HEADS * HEAD
    expected = (2 * (BODY + LM_HEAD) + attention) / 2 / 4
    assert total(rows, "flops") == pytest.approx(expected)


def simulated_experts(tokens: int, *, experts: int, active: int) -> float:
    draw = np.random.default_rng(0)
    runs = 20000 // tokens
    order = draw.uniform(size=(runs, tokens, experts)).argpartition(active, axis=-1)
    touched = np.zeros((runs, experts), bool)
    for token in range(tokens):
        np.put_along_axis(touched, order[:, token, :active], values=True, axis=-1)
    return float(touched.sum(axis=-1).mean())


@pytest.mark.parametrize(
    ("tokens", "experts", "active"), [(1, 8, 2), (3, 8, 2), (16, 128, 8), (64, 256, 8)]
)
def test_touched_experts_match_a_simulation(*, tokens: int, experts: int, active: int):
    drawn = simulated_experts(tokens, experts=experts, active=active)
    touched = touched_experts(
        float(tokens), num_experts=float(experts), num_active=float(active), skew=0.0
    )
    assert float(touched) == pytest.approx(drawn, rel=0.02)


@pytest.mark.parametrize("skew", [0.0, 0.5, 2.0])
def test_one_token_touches_exactly_its_experts(skew: float):
    touched = touched_experts(1.0, num_experts=128.0, num_active=8.0, skew=skew)
    assert float(touched) == pytest.approx(8.0)


def test_skew_touches_fewer_experts_but_never_fewer_than_one_token_does():
    for tokens in (2.0, 16.0, 256.0):
        even, skewed = (
            float(touched_experts(tokens, num_experts=64.0, num_active=4.0, skew=skew))
            for skew in (0.0, 2.0)
        )
        assert 4.0 <= skewed <= even <= 64.0


@pytest.mark.parametrize("ranks", [2, 4, 8, 64, 256])
def test_largest_of_normals_matches_a_simulation(ranks: int):
    draws = np.random.default_rng(1).normal(size=(20000, ranks)).max(axis=1)
    assert float(largest_of_normals(float(ranks))) == pytest.approx(
        draws.mean(), abs=0.08
    )
    assert float(largest_of_normals(1.0)) == pytest.approx(0.0)


EXPERT = 3 * 4096 * 14336  # Mixtral 8x7B
MIXTRAL_LAYERS = 32


@pytest.mark.parametrize("batch", [1.0, 4.0, 512.0])
def test_mixtral_reads_touched_experts_and_computes_active_ones(batch: float):
    design = preset_design("h200-sxm", "mixtral-8x7b")
    rows = counted(design, decode(batch, context=500.0))
    touched = 8 * (1 - 0.75**batch)
    read = only(rows, "weight_bytes", containing="experts")
    assert read == pytest.approx(MIXTRAL_LAYERS * touched * EXPERT * 2)
    flops = only(rows, "flops", containing="experts")
    assert flops == pytest.approx(2 * batch * 2 * MIXTRAL_LAYERS * EXPERT)


def test_expert_ranks_share_the_experts_and_all_tokens():
    """Eight attention replicas feed one group of eight expert ranks."""
    batch = 512.0
    design = preset_design(
        "h200-sxm",
        "mixtral-8x7b",
        num_chips=8,
        tensor_parallel=1.0,
        expert_parallel=8.0,
        batch=batch,
    )
    rows = counted(design, decode(batch / 8, context=500.0))
    whole = 2 * batch * 2 * MIXTRAL_LAYERS * EXPERT
    assert only(rows, "flops", containing="experts") == pytest.approx(whole / 8)
    read = only(rows, "weight_bytes", containing="experts")
    assert read == pytest.approx(MIXTRAL_LAYERS * EXPERT * 2, rel=1e-6)
    # Dispatch and combine of two copies, seven eighths of them to other chips.
    sent = only(rows, "message_bytes", containing="all-to-all")
    assert sent == pytest.approx(MIXTRAL_LAYERS * 2 * 2 * 7 / 8 * batch / 8 * 4096 * 2)
    assert only(rows, "message_bytes", containing="all-reduce") == 0.0


def test_tensor_parallel_experts_reduce_like_a_dense_layer():
    design = preset_design("h200-sxm", "mixtral-8x7b", num_chips=8, tensor_parallel=8.0)
    rows = counted(design, decode(64.0, context=500.0))
    assert only(rows, "message_bytes", containing="all-to-all") == 0.0
    assert total(rows, "num_messages") == 2 * MIXTRAL_LAYERS


def test_busiest_rank_has_at_least_the_mean_and_at_most_all_work():
    design = preset_design("b200-sxm", "deepseek-v3", num_chips=8, expert_parallel=8.0)
    for batch in (1.0, 8.0, 64.0, 4096.0):
        rows = counted(design, decode(batch, context=500.0))
        mean = only(rows, "weight_bytes", containing="experts")
        hot = only(rows, "hot_weight_bytes", containing="experts")
        rank = 58 * 3 * 7168 * 2048 * 256 / 8  # 8 bit, all experts of a rank
        assert mean * (1 - 1e-9) <= hot <= rank * (1 + 1e-9)


def test_deepseek_cache_is_the_latent_and_not_split_by_tensor_parallelism():
    batch, context = 16, 3000
    for tensor in (1.0, 8.0):
        design = preset_design(
            "b200-sxm", "deepseek-v3", num_chips=8, tensor_parallel=tensor
        )
        rows = counted(design, decode(batch, context=context))
        assert total(rows, "cache_bytes") == pytest.approx(
            batch * context * 61 * (512 + 64) * 2
        )
        absorbed = 2 * batch * context * 61 * 128 / tensor * (512 + 64 + 512)
        flops = only(rows, "flops", containing="latent decode attention")
        assert flops == pytest.approx(absorbed)


def test_deepseek_projections_read_every_attention_weight():
    rows = counted(
        preset_design("b200-sxm", "deepseek-v3", num_chips=8, tensor_parallel=1.0),
        decode(1.0, context=10.0),
    )
    per_layer = (
        7168 * 1536 + 1536 * 128 * 192 + 7168 * 576 + 512 * 128 * 256 + 128 * 128 * 7168
    )
    projections = only(rows, "weight_bytes", containing="latent")
    assert projections == pytest.approx(61 * per_layer)


@pytest.mark.parametrize("context", [500.0, 8000.0])
def test_gemma_reads_at_most_a_window_in_windowed_layers(context: float):
    batch = 4
    rows = counted(
        preset_design("h100-sxm", "gemma-3-27b"), decode(batch, context=context)
    )
    tokens = 10 * context + 52 * min(context, 1024.0)
    assert total(rows, "cache_bytes") == pytest.approx(
        batch * tokens * 2 * 16 * 128 * 2
    )


def test_nemotron_moves_its_state_whatever_the_context():
    batch = 4
    for context in (100.0, 100_000.0):
        rows = counted(
            preset_design("h100-sxm", "nemotron-nano-9b-v2"),
            decode(batch, context=context),
        )
        state = batch * 27 * 10240 * 128 * (4 + 4)  # fp32, read and written
        assert only(rows, "cache_bytes", containing="state") == pytest.approx(state)
        cache = only(rows, "cache_bytes", containing="decode attention")
        assert cache == pytest.approx(batch * context * 4 * 2 * 8 * 128 * 2)


MEMORY_CASES = {
    "llama-3-70b": {"num_chips": 8.0},
    "gemma-3-27b": {"num_chips": 4.0, "prompt_length": 9000.0},
    "deepseek-v3": {"num_chips": 8.0},
    "qwen3-30b-a3b": {"num_chips": 4.0, "pipeline_parallel": 2.0},
    "gpt-oss-120b": {"num_chips": 8.0, "expert_parallel": 8.0},
}


@pytest.mark.parametrize("model", MEMORY_CASES)
def test_cache_that_is_read_is_the_cache_that_is_held(model: str):
    design = preset_design("b200-sxm", model, **MEMORY_CASES[model])
    held = evaluate(design).memory
    stages = float(design.deployment.pipeline_parallel)
    degree = float(design.deployment.tensor_parallel) * stages
    sequences = 64.0 / (float(design.system.num_chips) / degree)
    context = float(design.request.prompt_length + design.request.output_length / 2)
    rows = counted(design, decode(sequences, context=context))
    # Each of the micro-batches reads its own share.
    assert stages * total(rows, "cache_bytes") == pytest.approx(float(held.kv_bytes))


@pytest.mark.parametrize("model", MEMORY_CASES)
def test_weights_that_a_full_batch_reads_are_the_weights_that_are_held(model: str):
    """All but the embedding table, of which a step reads a few rows, and norms."""
    design = preset_design("b200-sxm", model, **MEMORY_CASES[model])
    held = float(evaluate(design).memory.weight_bytes)
    rows = counted(design, decode(1e6, context=1.0))
    parts = count_parameters(design.model)
    tied = float(design.model.tied_embeddings)
    unread = (1 - tied) * float(parts.embedding) + float(parts.norm)
    deployment = design.deployment
    degree = float(deployment.tensor_parallel * deployment.pipeline_parallel)
    expected = held - unread * float(design.model.head_bits) / 8 / degree
    # The router is read whole by every chip, though it is held split.
    router = float(parts.router) * 2 * (1 - 1 / float(deployment.tensor_parallel))
    expected += router / float(deployment.pipeline_parallel)
    assert total(rows, "weight_bytes") == pytest.approx(expected, rel=1e-3)
