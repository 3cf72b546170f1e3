"""How is JAX set up before a command uses it?

Environment -> 64-bit floats and a persistent cache of compiled programs.
"""

import gc
import hashlib
import os
import platform
import sys
import warnings
from importlib.metadata import version
from pathlib import Path

COLLECTED_AFTER = (100_000, 50, 50)
"""Objects made between two looks for garbage, and looks between longer ones: traces
make many objects that live, and Python's own 700 cost a search a twentieth of its time.
"""
SHORTEST_COMPILE = 0.2  # seconds; shorter compilations are not worth a file


def start_jax() -> None:
    """Turn on 64-bit floats and keep compiled programs between runs."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    gc.set_threshold(*COLLECTED_AFTER)
    import jax

    from codesign.core.checks import enable_x64

    enable_x64()
    if _is_writable(cache_folder()):
        jax.config.update("jax_compilation_cache_dir", str(cache_folder()))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", SHORTEST_COMPILE)
    warnings.filterwarnings(
        "ignore", message="Error (reading|writing) persistent compilation cache"
    )


def cache_folder() -> Path:
    """Folder of compiled programs for this version of JAX and this processor.

    JAX_COMPILATION_CACHE_DIR is taken as it is; CODESIGN_CACHE_DIR, or else the
    platform's folder for caches, holds one folder per version and processor,
    which JAX's own key leaves out.
    """
    chosen = os.environ.get("JAX_COMPILATION_CACHE_DIR")
    if chosen:
        return Path(chosen)
    key = hashlib.sha256(_processor().encode()).hexdigest()[:12]
    return _caches() / f"jax-{version('jax')}-{key}"


def _caches() -> Path:
    chosen = os.environ.get("CODESIGN_CACHE_DIR")
    if chosen:
        return Path(chosen)
    home = Path.home()
    if sys.platform == "darwin":
        return home / "Library" / "Caches" / "codesign"
    if sys.platform == "win32":
        local = os.environ.get("LOCALAPPDATA")
        base = Path(local) if local else home / "AppData" / "Local"
        return base / "codesign" / "Cache"
    return Path(os.environ.get("XDG_CACHE_HOME") or home / ".cache") / "codesign"


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if not cpuinfo.is_file():
        return f"{platform.machine()} {platform.processor()}"
    lines = cpuinfo.read_text(encoding="utf-8").splitlines()
    wanted = ("model name", "flags", "Features", "CPU part")
    return "\n".join(sorted({line for line in lines if line.startswith(wanted)}))


def _is_writable(folder: Path) -> bool:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return False
    return os.access(folder, os.W_OK)
