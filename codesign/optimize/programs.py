"""How does a search start without tracing and compiling again?

Function and example arguments -> compiled program, from disk where it lies there.
"""

import gc
import hashlib
import os
import pickle
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from functools import cache
from importlib.metadata import version
from pathlib import Path
from pickle import UnpicklingError
from threading import Lock
from typing import Any

import jax
from jax.experimental import serialize_executable
from jax.scipy.linalg import cho_factor

import codesign.optimize

KEPT = 48  # programs on disk; each has 1 to 14 MB
AT_HAND = 16  # programs that this process remembers
UNREADABLE = (OSError, EOFError, ValueError, TypeError, RuntimeError, UnpicklingError)
ROOT = Path(codesign.optimize.__file__).parents[1]
TRACED = (  # what programs are traced from
    *("core", "technology", "hardware", "model", "serving", "operators", "cost"),
    *("quality", "outcome", "config/limits.py", "optimize/interior.py"),
    *(
        "optimize/joint.py",
        "optimize/lagrangian.py",
        "optimize/problem.py",
        "optimize/programs.py",
        "optimize/proof.py",
    ),
    "optimize/space.py",
)

Program = Callable[..., Any]
Arguments = tuple[tuple[Any, ...], dict[str, Any]]  # by place and by name
_ready: dict[Path | None, Program] = {}
_tracing = Lock()  # one trace at a time: it holds the interpreter's lock anyway


def prepare(
    function: Program,
    *,
    given: Arguments,
    about: object,
    options: dict[str, Any],
    kept: bool = True,
) -> Callable[[], Program]:
    """What remains to be done, in any thread, to get ``function`` compiled.

    The function is traced here unless the folder of compiled programs
    (``jax_compilation_cache_dir``) holds it: same sources of this package, same
    JAX, same ``about``, same shapes and types of the arguments. The program
    takes arguments of just those shapes. What ``about`` cannot name, such as a
    function of the user's, is not ``kept``.
    """
    path = _place(given, about=(about, options)) if kept else None
    ready = None if path is None else _ready.get(path)
    if ready is not None:
        return lambda: ready
    if path is not None and path.is_file():
        return lambda: _load(path) or _traced(function, given, options=options)(path)
    compile_traced = _traced(function, given, options=options)
    return lambda: compile_traced(path)


def _traced(
    function: Program, given: Arguments, *, options: dict[str, Any]
) -> Callable[[Path | None], Program]:
    """The function with flat arguments, traced; returns what compiles and keeps it.

    It is always compiled anew: a program that JAX took from its own cache loses
    its machine code when it is stored again.
    """
    leaves, inside = jax.tree.flatten(given)
    outside: list[Any] = []

    def flat(*leaves: Any) -> tuple[Any, ...]:
        args, named = jax.tree.unflatten(inside, leaves)
        found = function(*args, **named)
        values, structure = jax.tree.flatten(found)
        outside.append(structure)
        return tuple(values)

    flat.__name__ = f"search_{time.time_ns()}"  # unknown to JAX's own cache
    with _tracing, _uncollected():
        lowered = jax.jit(flat, compiler_options=options).lower(*leaves)

    def finish(path: Path | None) -> Program:
        compiled = lowered.compile()
        shape = jax.tree.unflatten(outside[0], range(outside[0].num_leaves))
        if path is not None:
            _keep(compiled, shape, path=path)
        return _calling(compiled, shape, path=path)

    return finish


@contextmanager
def _uncollected() -> Generator[None]:
    """No search for garbage, which takes a third of a trace and finds little."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


def _calling(compiled: Any, shape: Any, *, path: Path | None) -> Program:
    """The compiled flat function with arguments and results as trees."""
    structure = jax.tree.structure(shape)

    def call(*args: Any, **named: Any) -> Any:
        return jax.tree.unflatten(structure, compiled(*jax.tree.leaves((args, named))))

    if path is not None:
        _ready[path] = call
        for old in list(_ready)[:-AT_HAND]:
            _ready.pop(old, None)
    return call


def _keep(compiled: Any, shape: Any, *, path: Path) -> None:
    """Write a program; a disk that is full or not ours is no reason to stop."""
    part = path.with_suffix(f".{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with part.open("wb") as file:
            pickle.dump((serialize_executable.serialize(compiled), shape), file)
        part.replace(path)
        for old in _by_age(path.parent)[KEPT:]:
            old.unlink(missing_ok=True)
    except OSError:
        with suppress(OSError):
            part.unlink()


def _by_age(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.bin"), key=lambda p: p.stat().st_mtime, reverse=True)


def _load(path: Path) -> Program | None:
    """The program on disk, None if it cannot be read."""
    _register_lapack()
    try:
        with path.open("rb") as file:
            stored, shape = pickle.load(file)  # noqa: S301 - the user's own cache
        compiled = serialize_executable.deserialize_and_load(*stored)
        path.touch()
    except UNREADABLE:
        return None
    return _calling(compiled, shape, path=path)


@cache
def _register_lapack() -> None:
    """Register the routines that loaded programs call but only tracing registers."""
    cho_factor(jax.numpy.eye(1))


def _place(given: Arguments, *, about: object) -> Path | None:
    """Where a program lies: a digest of all that it depends on."""
    folder = getattr(jax.config, "jax_compilation_cache_dir", None)
    if folder is None:
        return None
    leaves, inside = jax.tree.flatten(given)
    facts = [
        _sources(),
        version("jax"),
        version("jaxlib"),
        jax.default_backend(),
        repr(about),
        str(inside),
        *(repr(jax.typeof(leaf)) for leaf in leaves),
    ]
    digest = hashlib.sha256("\n".join(facts).encode()).hexdigest()
    return Path(folder) / "programs" / f"{digest[:40]}.bin"


@cache
def sources_digest() -> str:
    """Digest of every file that numbers of a search come from."""
    return _digest((*TRACED, "optimize", "config"))


@cache
def _sources() -> str:
    """Digest of every Python file that a trace goes through."""
    return _digest(TRACED)


def _digest(entries: tuple[str, ...]) -> str:
    digest = hashlib.sha256()
    for entry in entries:
        path = ROOT / entry
        for file in [path] if path.is_file() else sorted(path.rglob("*.py")):
            digest.update(file.read_bytes())
    return digest.hexdigest()
