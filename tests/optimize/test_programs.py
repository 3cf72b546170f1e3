"""Compiled programs on disk: the same answers, never stale, never in the way."""

import gc
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from codesign.core.record import Record
from codesign.optimize import programs
from codesign.optimize.programs import prepare


class Pair(Record):
    """A result with a structure of its own."""

    first: jax.Array
    second: jax.Array


@pytest.fixture(autouse=True)
def folder(tmp_path: Path) -> object:
    before = jax.config.values["jax_compilation_cache_dir"]
    jax.config.update("jax_compilation_cache_dir", str(tmp_path))
    yield tmp_path
    jax.config.update("jax_compilation_cache_dir", before)


def build(*, about: object = "a", calls: list[int] | None = None) -> object:
    """A program with a matrix factor inside, and a count of its traces.

    A process that does not remember the programs of others.
    """
    programs._ready.clear()

    def solve(matrix: jax.Array, *, right: jax.Array) -> Pair:
        if calls is not None:
            calls.append(1)
        factor = jax.scipy.linalg.cho_factor(matrix)
        return Pair(
            first=jax.scipy.linalg.cho_solve(factor, right), second=jnp.sum(matrix)
        )

    given = ((np.eye(2) * 4.0,), {"right": np.ones(2)})
    return prepare(solve, given=given, about=about, options={})()


def kept(folder: Path) -> list[Path]:
    return list((folder / "programs").glob("*.bin"))


def test_a_kept_program_is_not_traced_again(folder: Path):
    first, second = [], []
    answers = [
        build(calls=calls)(np.eye(2) * 2.0, right=np.ones(2))
        for calls in (first, second)
    ]
    assert (len(first), len(second), len(kept(folder))) == (1, 0, 1)
    for answer in answers:
        np.testing.assert_allclose(answer.first, 0.5, rtol=1e-14)
        assert float(answer.second) == 4.0


def test_a_process_reads_a_program_once(folder: Path):
    calls = []
    first = build(calls=calls)
    (path,) = kept(folder)
    path.unlink()
    given = ((np.eye(2) * 4.0,), {"right": np.ones(2)})
    again = prepare(first, given=given, about="a", options={})()
    assert again is first


def test_another_problem_has_a_program_of_its_own(folder: Path):
    build(about="a")
    build(about="b")
    assert len(kept(folder)) == 2


def test_changed_sources_have_programs_of_their_own(
    folder: Path, monkeypatch: pytest.MonkeyPatch
):
    build()
    monkeypatch.setattr(programs, "_sources", lambda: "changed")
    build()
    assert len(kept(folder)) == 2


@pytest.mark.parametrize("content", [b"", b"not a program", b"\x80\x04K\x01."])
def test_a_broken_file_is_compiled_again(folder: Path, content: bytes):
    build()
    (path,) = kept(folder)
    path.write_bytes(content)
    answer = build()(np.eye(2), right=np.ones(2))
    np.testing.assert_allclose(answer.first, 1.0, rtol=1e-14)
    assert path.stat().st_size > 1000


def test_programs_are_traced_one_at_a_time_and_garbage_is_collected_again():
    """Each trace ends while another one waits, one of them by an error."""
    tracing: list[bool] = []

    def solve(value: jax.Array) -> jax.Array:
        tracing.append(gc.isenabled())
        time.sleep(0.05)
        if len(tracing) == 2:
            raise FloatingPointError
        return 2.0 * value

    def traced(about: int) -> None:
        prepare(solve, given=((1.0,), {}), about=about, options={}, kept=False)

    with ThreadPoolExecutor(4) as pool:
        jobs = [pool.submit(traced, about) for about in range(4)]
    failed = [job.exception() for job in jobs]
    assert sum(isinstance(each, FloatingPointError) for each in failed) == 1
    assert tracing == [False] * 4
    assert gc.isenabled()


def test_only_the_newest_are_kept(folder: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(programs, "KEPT", 2)
    for about in "abc":
        build(about=about)
    assert len(kept(folder)) == 2


def test_a_folder_that_cannot_be_written_is_no_reason_to_stop(folder: Path):
    (folder / "programs").write_text("a file where the folder should be")
    answer = build()(np.eye(2), right=np.ones(2))
    np.testing.assert_allclose(answer.first, 1.0, rtol=1e-14)
