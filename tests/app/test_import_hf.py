"""``codesign import-hf``: any published config becomes a file that says the same."""

import json
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from codesign.config.models import load_model
from tests.app.runner import answer, invoke
from tests.helpers import assert_trees_close

CONFIGS = Path(__file__).resolve().parents[1] / "fixtures" / "huggingface"
PUBLISHED = {
    "llama-3-8b": 8.03e9,
    "deepseek-v3": 671e9,
    "gpt-oss-20b": 20.9e9,
    "gemma-3-27b": 27e9,
    "nemotron-nano-9b-v2": 8.89e9,
    "qwen3-next-80b-a3b": 80e9,
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_file_says_what_the_config_says(name: str, tmp_path: Path):
    config, out = CONFIGS / f"{name}.json", tmp_path / "m.yaml"
    weights = PUBLISHED[name]
    data = answer("import-hf", config, "--out", out, "--parameters", weights)
    assert data["parameters"] == pytest.approx(weights, rel=0.02)
    assert data["active_parameters"] <= data["parameters"]
    assert_trees_close(load_model(out), load_model(config))


def test_count_that_is_off_writes_nothing(tmp_path: Path):
    out = tmp_path / "m.yaml"
    config = CONFIGS / "llama-3-8b.json"
    done = invoke("import-hf", config, "--out", out, "--parameters", 9e9)
    assert done.exit_code == 2
    assert "8.03e+09" in done.stderr
    assert "-10.8%" in done.stderr
    assert not out.exists()


def test_folder_with_an_index_tells_the_bits(tmp_path: Path):
    folder = tmp_path / "Llama-3-8B"
    folder.mkdir()
    text = (CONFIGS / "llama-3-8b.json").read_text(encoding="utf-8")
    (folder / "config.json").write_text(text, encoding="utf-8")
    index = {"metadata": {"total_size": 16060522496}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index), "utf-8")
    out = tmp_path / "m.yaml"
    flags = ["--out", out, "--training-tokens", "15e12 token"]
    shown = invoke("import-hf", folder, *flags).stdout
    assert "llama-3-8b, read as llama" in shown
    assert "16 bit a weight" in shown
    assert float(load_model(out).training_tokens) == 15e12


def test_no_file_is_overwritten(tmp_path: Path):
    out = tmp_path / "m.yaml"
    out.write_text("mine", encoding="utf-8")
    words = ("import-hf", CONFIGS / "llama-3-8b.json", "--out", out)
    assert "--force" in invoke(*words).stderr
    assert out.read_text(encoding="utf-8") == "mine"
    assert invoke(*words, "--force").exit_code == 0


def test_name_on_the_hub_needs_its_client(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    done = invoke("import-hf", "meta-llama/Llama-3.1-8B")
    assert done.exit_code == 2
    assert "install huggingface_hub" in done.stderr


def test_name_on_the_hub_is_fetched(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    asked: list[tuple[str, str]] = []

    def download(repo_id: str, filename: str) -> str:
        asked.append((repo_id, filename))
        if "none" in repo_id:
            raise OSError("401 Client Error")
        return str(CONFIGS / "llama-3-8b.json")

    hub = SimpleNamespace(hf_hub_download=download)
    monkeypatch.setitem(sys.modules, "huggingface_hub", hub)
    out = tmp_path / "m.yaml"
    data = answer("import-hf", "meta-llama/Llama-3.1-8B", "--out", out)
    assert asked == [("meta-llama/Llama-3.1-8B", "config.json")]
    assert data["name"] == "llama-3.1-8b"
    assert "meta-llama/Llama-3.1-8B" in data["source"]
    done = invoke("import-hf", "org/none")
    assert done.exit_code == 2
    assert "401 Client Error" in done.stderr


def test_unknown_family_can_be_read_as_a_known_one(tmp_path: Path):
    config, out = tmp_path / "config.json", tmp_path / "m.yaml"
    shape = json.loads((CONFIGS / "llama-3-8b.json").read_text(encoding="utf-8"))
    config.write_text(json.dumps({**shape, "model_type": "foo"}), encoding="utf-8")
    refused = invoke("import-hf", config, "--out", out)
    assert refused.exit_code == 2
    assert "import-hf config.json --as llama" in refused.stderr
    data = answer("import-hf", config, "--out", out, "--as", "llama")
    assert data["parameters"] == pytest.approx(8.03e9, rel=0.01)
    assert "Known: " in invoke("import-hf", config, "--as", "lama").stderr
