"""What does an answer cost, when better ones take more tokens?

Study beside this file -> README.md, figures and numbers.json beside this file.

    python experiments/14_cost_per_answer/run.py            # the page
    python experiments/14_cost_per_answer/run.py --small    # fewer draws
"""

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from codesign.config.quality import load_quality_draws
from codesign.model.transformer import Transformer
from codesign.outcome.thinking import accuracy, model_thinker, thinking_tokens
from codesign.quality.ensemble import draw_axes
from experiments.common import figure as fig
from experiments.common.draws import (
    COMMON_STACK,
    SOFTWARE,
    Case,
    at,
    build_case,
    elasticity,
    evaluate_cases,
    on_stack,
)
from experiments.common.page import (
    Run,
    band,
    elasticity_table,
    interval,
    log,
    main,
    table,
    two,
)
from experiments.common.verdict import part

COMMAND = "python experiments/14_cost_per_answer/run.py"
FAMILY = {"llama-3-8b": 1, "llama-3-70b": 8, "llama-3.1-405b": 8}
YEARS = {
    "2023": ("llama-2-70b", "a100-sxm-80gb"),
    "2024": ("llama-3-70b", "h100-sxm"),
    "2025": ("qwen3-235b-a22b", "h200-sxm"),
}
SHORT, LONG = 256.0, 4096.0


def serving(run: Run, model: str, *, chip: str, tokens: float = SHORT) -> Case:
    """A model on a chip, at answers of so many tokens."""
    given, request = run.study.resolved["baseline"], run.study.baseline.request
    experts = {"expert_parallel": 8, "tensor_parallel": 4} if "-a" in model else {}
    return build_case(
        f"{model} on {chip}",
        chip=chip,
        stack=COMMON_STACK,
        num_chips=16 if "405b" in model else 8,
        model=model,
        batch=float(given["batch"]),
        prompt_length=float(request.prompt_length),
        output_length=tokens,
        **({"tensor_parallel": 8} | experts),
    )


def scores(models: Sequence[Transformer], lengths: Sequence[float]) -> np.ndarray:
    """Accuracy of models at lengths of thought: models x lengths x draws."""
    draws = load_quality_draws(count=64)

    def one(model: Transformer, tokens: Any) -> Any:
        def under(draw: Any) -> Any:
            return accuracy(model_thinker(model, draw.constants), tokens)

        return jax.vmap(under, in_axes=(draw_axes(draws),))(draws)

    stacked = jax.tree.map(lambda *leaves: np.stack(leaves), *models)
    grid = jax.vmap(jax.vmap(one, in_axes=(None, 0)), in_axes=(0, None))
    return np.asarray(jax.jit(grid)(stacked, np.asarray(lengths)))


def needed(model: Transformer, target: np.ndarray) -> np.ndarray:
    """Tokens of thought to a target, per draw."""
    draws = load_quality_draws(count=64)

    def under(draw: Any, goal: Any) -> Any:
        return thinking_tokens(model_thinker(model, draw.constants), goal)

    found = jax.vmap(under, in_axes=(draw_axes(draws), 0))(draws, target)
    return np.asarray(found)


def joules(run: Run, case: Case, *, tokens: np.ndarray) -> np.ndarray:
    """Joules per answer at lengths that vary with the draw, by interpolation."""
    grid = np.array([64.0, 512.0, 4096.0, 32768.0])
    costs = evaluate_cases(
        [at(case, request__output_length=t) for t in grid], draws=run.draws
    )
    answer = np.stack([c.energy_per_token_server * t for c, t in zip(costs, grid)])  # noqa: B905
    lanes = np.concatenate([[np.median(tokens)], np.resize(tokens, run.draws)])
    x = np.log(grid)
    return np.array(
        [
            np.exp(np.interp(np.log(t), x, np.log(answer[:, i])))
            for i, t in enumerate(lanes)
        ]
    )


def write(run: Run) -> None:
    """All numbers, figures and the page."""
    log.info("equal answers")
    base_tokens = float(run.study.baseline.request.output_length)
    cases = {m: serving(run, m, chip="h100-sxm") for m in FAMILY}
    models = [case.design.model for case in cases.values()]
    target = scores(models, [base_tokens])[list(FAMILY).index("llama-3-70b"), 0]
    tokens = {m: needed(c.design.model, target) for m, c in cases.items()}
    answer = {m: joules(run, c, tokens=tokens[m]) for m, c in cases.items()}
    log.info("years")
    years = {
        year: {
            length: evaluate_cases(
                [serving(run, model, chip=chip, tokens=length)], draws=run.draws
            )[0]
            for length in (SHORT, LONG)
        }
        for year, (model, chip) in YEARS.items()
    }
    log.info("software")
    software = {
        title: by_software(run, tokens, cases=cases, stack=stack)
        for title, stack in SOFTWARE.items()
    }
    quality = scores(
        [serving(run, m, chip=c).design.model for m, c in YEARS.values()],
        [SHORT, LONG],
    )
    lengths = run.values("request.output_length")
    curve = scores(models, lengths)
    draw(run, lengths, curve=curve, cases=cases)
    page(
        run,
        {
            "tokens": tokens,
            "answer": answer,
            "years": years,
            "quality": quality,
            "cases": cases,
            "target": target,
            "software": software,
        },
    )


def by_software(
    run: Run,
    tokens: dict[str, np.ndarray],
    *,
    cases: dict[str, Case],
    stack: str | None,
) -> dict[str, np.ndarray]:
    """The three ratios of the claim under a software."""
    small, middle = (
        joules(run, on_stack(cases[m], stack), tokens=tokens[m])
        for m in list(FAMILY)[:2]
    )
    (first, chip), (last, newer) = YEARS["2023"], YEARS["2025"]
    old, new = (
        on_stack(serving(run, model, chip=on, tokens=length), stack)
        for model, on, length in ((first, chip, SHORT), (last, newer, LONG))
    )
    before, after = (
        cost.energy_per_token_server
        for cost in evaluate_cases([old, new], draws=run.draws)
    )
    return {
        "token": after / before,
        "answer": after * LONG / (before * SHORT),
        "small": small / middle,
    }


def lanes(values: np.ndarray) -> np.ndarray:
    """Quality draws with a place for the central value in front."""
    return np.concatenate([[np.median(values)], values])


def draw(
    run: Run, lengths: Sequence[float], *, curve: np.ndarray, cases: dict[str, Case]
) -> None:
    """Accuracy over joules per answer, one line per model size."""
    colors = (fig.BLUE, fig.ORANGE, fig.GREEN)
    with fig.figure(run, "answers") as axes:
        for color, (i, (name, case)) in zip(
            colors, enumerate(cases.items()), strict=True
        ):
            costs = evaluate_cases(
                [at(case, request__output_length=t) for t in lengths], draws=run.draws
            )
            x = [
                interval(c.energy_per_token_server * t)[0]
                for c, t in zip(costs, lengths, strict=True)
            ]
            fig.line(
                axes,
                x,
                y=[100 * lanes(values) for values in curve[i]],
                label=name,
                color=color,
                marker="o",
            )
        fig.log_axes(axes, y=False)
        axes.set(
            xlabel="energy per answer, server [J]",
            ylabel="accuracy, MMLU-like [%]",
            title="64 to 32k tokens of thought per answer",
        )
        axes.legend(loc="lower right")


def page(run: Run, got: dict[str, Any]) -> None:
    """The text around the numbers."""
    small, middle, large = (got["answer"][m] for m in FAMILY)
    first, last = got["years"]["2023"], got["years"]["2025"]
    token = last[LONG].energy_per_token_server / first[SHORT].energy_per_token_server
    same = last[SHORT].energy_per_request / first[SHORT].energy_per_request
    long = token * LONG / SHORT
    usd = last[LONG].usd_per_token * LONG / (first[SHORT].usd_per_token * SHORT)
    reach = np.mean(got["tokens"]["llama-3-8b"] < 3e4)
    run.add("# 14 What does an answer cost?")
    run.claim(
        23,
        "Cost per answer rises even as cost per token falls, because more tokens are "
        "burned.",
        parts=[
            part("a token of 2025 takes fewer joules than one of 2023", token < 1),
            part("an answer of 2025 with long thought takes more joules than a direct "
                 "one of 2023", long > 1),
            part("at equal quality a small model that thinks longer takes more joules "
                 "than a larger one that does not", small > middle),
        ],
        gist=f"""From 2023 (Llama-2-70B on A100) to 2025 (Qwen3-235B-A22B on H200) a
        token
        went to {band(token)} of its joules. A direct answer of {SHORT:g} tokens costs
        {band(same)} of what it did, one with {LONG:g} tokens of thought {band(long)}
        times
        the joules and {band(usd)} times the dollars, at
        {two(100 * float(np.median(got["quality"][2, 1])))} instead of
        {two(100 * float(np.median(got["quality"][0, 0])))} % accuracy. For an answer as
        good as Llama-3-70B's, the 8B model takes {band(small / middle)} times the
        joules
        (in reach in {two(100 * reach)} % of the draws), the 405B model
        {band(large / middle)}.""",
    )  # fmt: skip
    run.add("![Accuracy over joules per answer](answers.svg)", "## Numbers")
    rows = [[m, band(lanes(got["tokens"][m])), band(got["answer"][m])] for m in FAMILY]
    run.add(
        f"""Answers as good as Llama-3-70B's of
        {run.study.baseline.request.output_length:g} tokens
        ({band(100 * lanes(got["target"]), "%")} accuracy), on H100:""",
        *table(["model", "tokens per answer", "J/answer, server"], rows),
    )
    rows = []
    for i, (year, found) in enumerate(got["years"].items()):
        model, chip = YEARS[year]
        for j, length in enumerate((SHORT, LONG)):
            cost = found[length]
            rows.append(
                [
                    f"{year}, {model} on {chip}",
                    f"{length:g}",
                    band(cost.energy_per_token_server),
                    band(cost.energy_per_token_server * length),
                    band(cost.usd_per_token * length, scale=1e-3),
                    band(100 * lanes(got["quality"][i, j])),
                ]
            )
    head = ["year, model, chip", "tokens", "J/token", "J/answer"]
    head += ["USD per 1000 answers", "accuracy [%]"]
    base = got["cases"]["llama-3-70b"]
    run.add(
        "One stack for all years, so that only models and chips differ:",
        *table(head, rows),
        "The ratios of the claim by software; the verdict is the first row's:",
        *table(
            [
                "software",
                "a token, 2025 over 2023",
                "an answer with long thought",
                "8B over 70B at equal answers",
            ],
            [
                [title, *(band(x) for x in each.values())]
                for title, each in got["software"].items()
            ],
        ),
        "## What matters most",
        *elasticity_table(
            [("J/token, 70B", elasticity(base, of="energy_per_token_server"))]
        ),
        """Above all the curve of accuracy over thought: its form, the 500 tokens of its
        scale and its exponent of one half are assumed; no public data fixes them across
        models. A scale twice as long doubles every answer.""",
        "## What would change the verdict",
        """- Thought that is trained for: reasoning models gain more per token than the
        curve gives to all models alike.""",
        """- Answers that are read by machines: where most tokens are hidden, latency
        limits batch and joules per token rise too.""",
        """The third statement rests on the assumed curve alone; the first two on the
        cost model and on lengths that users see.""",
    )


def run_experiment(arguments: Sequence[str] | None = None) -> Run:
    """Run with the given options."""
    change = "request.output_length=1024"
    return main(__file__, write, change=change, arguments=arguments)


if __name__ == "__main__":
    run_experiment()
