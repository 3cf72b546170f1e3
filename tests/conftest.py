"""One numerical setting for all tests: float64, cached compilation, fixed draws."""

import hashlib
import os
import platform
from pathlib import Path

import hypothesis
import jax
import pytest

jax.config.update("jax_enable_x64", True)

ROOT = Path(__file__).resolve().parents[1]


def _processor() -> str:
    """What compiled code depends on and JAX's cache key leaves out."""
    cpuinfo = Path("/proc/cpuinfo")
    if not cpuinfo.is_file():
        return f"{platform.machine()} {platform.processor()}"
    lines = cpuinfo.read_text(encoding="utf-8").splitlines()
    wanted = ("model name", "flags", "Features", "CPU part")
    return "\n".join(sorted({line for line in lines if line.startswith(wanted)}))


def _compilation_cache() -> str:
    caches = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    key = hashlib.sha256(_processor().encode()).hexdigest()[:12]
    return str(caches / "codesign" / f"jax-{jax.__version__}-{key}")


if jax.config.jax_compilation_cache_dir is None:
    jax.config.update("jax_compilation_cache_dir", _compilation_cache())
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.2)

hypothesis.settings.register_profile("codesign", derandomize=True, deadline=None)
hypothesis.settings.load_profile("codesign")


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of measured data, which lies beside the repository, not in it."""
    folder = ROOT.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("measured data absent: no folder ../shared/data")
    return folder
