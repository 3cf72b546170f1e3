"""Options of the compiler: only those that it knows."""

import jax
import pytest

from codesign.core import compiler
from codesign.core.compiler import cpu_options, jitted


def test_an_option_that_the_compiler_does_not_know_is_left_out(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(compiler, "NEWEST", (("xla_cpu_no_such_option", "1"),))
    assert set(cpu_options()) == {
        "xla_cpu_use_fusion_emitters",
        "xla_backend_optimization_level",
    }
    assert float(jitted(level=0)(lambda x: 2.0 * x)(1.5)) == 3.0


def test_options_are_those_of_the_backend():
    known = cpu_options(level=0)
    assert bool(known) == (jax.default_backend() == "cpu")
    assert known.get("xla_backend_optimization_level", 0) == 0
