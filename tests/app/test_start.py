"""Where compiled programs are kept."""

from pathlib import Path

import pytest

from codesign.app.start import cache_folder


def test_cache_folder_can_be_moved(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.delenv("JAX_COMPILATION_CACHE_DIR", raising=False)
    monkeypatch.setenv("CODESIGN_CACHE_DIR", str(tmp_path))
    assert cache_folder().parent == tmp_path
    assert cache_folder().name.startswith("jax-")
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", str(tmp_path / "own"))
    assert cache_folder() == tmp_path / "own"


def test_cache_folder_follows_the_platform(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    for name in ("JAX_COMPILATION_CACHE_DIR", "CODESIGN_CACHE_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder().parent == tmp_path / "codesign"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setattr("pathlib.Path.home", lambda: tmp_path)
    assert cache_folder().parent == tmp_path / ".cache" / "codesign"
    monkeypatch.setattr("sys.platform", "darwin")
    assert cache_folder().parent == tmp_path / "Library" / "Caches" / "codesign"
