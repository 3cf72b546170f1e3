"""The file of constants: every value has a source, every mistake an answer."""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import pytest

from codesign.config.catalogue import presets_directory
from codesign.config.quality import inherit_sources, load_quality_constants
from codesign.config.records import STATUSES
from codesign.config.yaml import read_yaml
from codesign.core.errors import InputError
from codesign.quality.constants import QualityConstants

FILE = presets_directory() / "quality" / "constants.yaml"


def entries(data: Any, path: str = "") -> list[tuple[str, dict[str, Any]]]:
    if "value" in data:
        return [(path, data)]
    return [
        found for key, item in data.items() for found in entries(item, f"{path}.{key}")
    ]


def test_every_value_has_source_and_status():
    found = entries(inherit_sources(read_yaml(FILE).data))
    assert len(found) > 80
    for path, entry in found:
        assert entry.get("source"), path
        assert entry.get("status") in STATUSES, path


def test_spreads_enclose_their_values():
    for path, entry in entries(inherit_sources(read_yaml(FILE).data)):
        if "low" in entry:
            low, value, high = (
                float(str(entry[key]).split()[0]) for key in ("low", "value", "high")
            )
            assert low < value < high, path
            assert entry["note"] in {"normal", "lognormal"}, path


def test_leaves_are_float64_and_laws_are_arrays(*, constants: QualityConstants):
    assert all(leaf.dtype == jnp.float64 for leaf in jax.tree.leaves(constants))
    assert all(leaf.shape == (4,) for leaf in jax.tree.leaves(constants.laws))
    assert all(leaf.shape == (2,) for leaf in jax.tree.leaves(constants.mmlu))
    assert all(leaf.shape == () for leaf in jax.tree.leaves(constants.precision))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("experts:\n", "expert:\n", "Did you mean experts"),
        ("  max_sparsity:", "  max_sparsty:", "Did you mean max_sparsity"),
        ("value: 30e12 token", "value: 30 s", "unique_tokens"),
        ("mmlu:\n  besiroglu:", "mmlu:\n  besirogl:", "Did you mean besiroglu"),
        ("    size_exponent: {value: 0.34}\n", "", "size_exponent"),
    ],
)
def test_mistakes_are_named_with_their_line(
    *, tmp_path: Path, old: str, new: str, message: str
):
    text = FILE.read_text(encoding="utf-8")
    assert old in text
    path = tmp_path / "constants.yaml"
    path.write_text(text.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(InputError, match=message):
        load_quality_constants(path)
