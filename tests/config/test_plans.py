"""Plans of calibrations: files under a folder, and mistakes by line."""

from pathlib import Path

import pytest

from codesign.config.plans import load_plan
from codesign.config.stacks import stack_info
from codesign.core.errors import InputError


def test_the_shipped_plan_fits_shipped_stacks():
    plan = load_plan("public", data=Path("data"))
    assert plan.models == Path("data/models.csv")
    for name, part in plan.parts.items():
        assert "--plan public" in stack_info(name).fit["command"]
        assert part.rows.parent == Path("data")
        assert bool(part.kernels) == bool(part.kernel_chip)
    assert plan.parts["vllm-0.11-h100"].kernel_chip == "H200"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("stacks: {a: {rows: r.csv, chip: H100}}", "missing key: constants"),
        (
            "stacks: {a: {rows: r, chip: c, constants: d, kernl_chip: e}}",
            "Did you mean kernel_chip?",
        ),
        ("stacks: [a]", "expected a mapping of stacks"),
        ("stack: {}", "Did you mean stacks?"),
        ("kernels: gemm.csv", "expected a list of files"),
    ],
)
def test_mistakes_are_named_with_their_line(tmp_path: Path, *, text: str, message: str):
    file = tmp_path / "plan.yaml"
    file.write_text(f"name: plan\n{text}\n", encoding="utf-8")
    with pytest.raises(InputError, match=message) as caught:
        load_plan(file, data=tmp_path)
    assert "plan.yaml:2" in str(caught.value) or "stacks" in message
