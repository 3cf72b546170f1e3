"""First tokens of a closed loop against a simulation of it, step by step."""

import heapq

import numpy as np
import pytest

from codesign.config.stacks import load_stack
from codesign.serving.load import Load, num_chunks, prompt_step

DECODE, PER_TOKEN = 10e-3, 30e-6  # seconds: a step, and each prefill token in it
PROMPT, LONG, OUTPUT, ROUNDS = 1024.0, 20480.0, 512, 10
STACK = load_stack("vllm-0.11-h100")
CHUNK = float(STACK.chunk_tokens)


def simulate(running: int, *, prompt: float = PROMPT, seed: int = 0) -> np.ndarray:
    """Seconds to the first token of each request; another comes as one ends.

    All of the first ``running`` come at once. A step prefills up to a chunk of the
    oldest prompts beside one token of each sequence.
    """
    rng = np.random.default_rng(seed)
    count = ROUNDS * running
    lengths = rng.uniform(0.5, 1.5, count) * OUTPUT
    came, first = np.zeros(count), np.zeros(count)
    waiting = [[request, prompt] for request in range(running)]
    ends: list[tuple[int, int]] = []
    now, step, sent = 0.0, 0, running
    while waiting or ends:
        room, begun = CHUNK, []
        while waiting and room > 0:
            done = min(room, waiting[0][1])
            room, waiting[0][1] = room - done, waiting[0][1] - done
            if waiting[0][1] == 0:
                begun.append(int(waiting.pop(0)[0]))
        before, now = now, now + DECODE + PER_TOKEN * (CHUNK - room)
        step += 1
        for request in begun:
            first[request] = now - came[request]
            heapq.heappush(ends, (step + int(lengths[request]), request))
        while ends and ends[0][0] <= step:
            heapq.heappop(ends)
            if sent < count:
                came[sent] = rng.uniform(before, now)
                waiting.append([sent, prompt])
                sent += 1
    return first


def predicted(running: int, *, together: float, prompt: float = PROMPT) -> float:
    """The formula at the same step times, without the host."""
    prefills = running / OUTPUT
    load = Load(
        sequences=float(running),
        context=prompt,
        context_variation=0.0,
        prefills_per_step=prefills,
        prompt_tokens=prompt,
        hit_tokens=0.0,
        duty=1.0,
        together=together,
    )
    own = DECODE + PER_TOKEN * float(prompt_step(load, STACK).prefill_tokens)
    mean = DECODE + PER_TOKEN * prompt * prefills
    return mean / 2 + float(num_chunks(load, STACK)) * own


@pytest.mark.parametrize("running", [8, 32, 64])
def test_in_steady_state_others_hardly_delay_a_prompt(running: int):
    """Prefill takes up to a third of the time here."""
    later = simulate(running)[running:].mean()
    assert predicted(running, together=1.0) == pytest.approx(later, rel=0.1)


@pytest.mark.parametrize("prompt", [PROMPT, LONG])
@pytest.mark.parametrize("running", [4, 16, 64, 256])
def test_a_burst_waits_for_half_of_itself(running: int, prompt: float):
    burst = simulate(running, prompt=prompt)[:running].mean()
    ours = predicted(running, together=running, prompt=prompt)
    assert ours == pytest.approx(burst, rel=0.1)
