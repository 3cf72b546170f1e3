import jax
import jax.numpy as jnp
import pytest

from codesign.core.checks import check_x64
from codesign.core.errors import (
    CodesignError,
    DoesNotFitError,
    Float64DisabledError,
    InfeasibleError,
    InputError,
    UnknownKeyError,
)
from codesign.core.paths import get_path, nearest, path_units, set_path
from codesign.core.quantities import Bytes, Seconds
from codesign.core.record import Record, as_float64, field_units


class Inner(Record):
    """A part."""

    size: Bytes


class Outer(Record):
    """A record with a part."""

    duration: Seconds
    inner: Inner


def outer() -> Outer:
    return Outer(duration=2.0, inner=Inner(size=3.0))


def test_record_is_a_frozen_tree_of_its_leaves():
    record = outer()
    assert jax.tree.leaves(record) == [2.0, 3.0]
    with pytest.raises(AttributeError):
        record.duration = 1.0
    with pytest.raises(TypeError):
        Inner(3.0)


def test_replacing_leaves_the_original_alone():
    record = outer()
    assert record.replace(duration=5.0).duration == 5.0
    assert record.duration == 2.0


def test_leaves_become_float64():
    record = as_float64(Outer(duration=2, inner=Inner(size=jnp.float32(3.0))))
    assert {leaf.dtype for leaf in jax.tree.leaves(record)} == {jnp.dtype("float64")}


def test_units_of_all_leaves_by_path():
    units = {path: unit.text for path, unit in field_units(Outer)}
    assert units == {"duration": "s", "inner.size": "B"}
    assert list(path_units(Outer)) == ["duration", "inner.size"]


def test_path_reads_and_writes_a_leaf():
    record = set_path(outer(), "inner.size", value=7.0)
    assert get_path(record, "inner.size") == 7.0
    assert get_path(record, "duration") == 2.0
    assert isinstance(get_path(record, "inner"), Inner)


@pytest.mark.parametrize("path", ["iner.size", "inner.sizes", "length"])
def test_unknown_path_names_itself_and_known_ones(path: str):
    with pytest.raises(UnknownKeyError, match=path):
        get_path(outer(), path)
    with pytest.raises(UnknownKeyError):
        set_path(outer(), path, value=1.0)


def test_nearest_names_come_first():
    assert nearest("h100-smx", ["a100", "h100-sxm", "tpu-v4"])[0] == "h100-sxm"
    assert nearest("zzz", ["a100"]) == []


def test_exit_codes_are_the_published_ones():
    assert CodesignError.exit_code == InputError.exit_code == 2
    assert InfeasibleError.exit_code == DoesNotFitError.exit_code == 3


def test_float32_is_refused():
    check_x64()
    jax.config.update("jax_enable_x64", False)
    try:
        with pytest.raises(Float64DisabledError, match="enable_x64"):
            check_x64()
    finally:
        jax.config.update("jax_enable_x64", True)
