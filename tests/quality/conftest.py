"""Constants and models that all tests of the quality law share."""

import pytest

from codesign.config.models import load_model
from codesign.config.quality import load_quality_constants
from codesign.model.transformer import Transformer
from codesign.quality.constants import QualityConstants

TOKENS = 15e12


@pytest.fixture(scope="session")
def constants() -> QualityConstants:
    return load_quality_constants()


@pytest.fixture(scope="session")
def small() -> Transformer:
    """Llama-3-8B: dense, shared KV heads, 16 bit, 15e12 tokens."""
    return load_model("llama-3-8b", training_tokens=TOKENS)


@pytest.fixture(scope="session")
def reference() -> Transformer:
    """Llama-3-70B, 16 bit, 15e12 tokens."""
    return load_model("llama-3-70b", training_tokens=TOKENS)


@pytest.fixture(scope="session")
def sparse() -> Transformer:
    """Qwen3-30B-A3B on 15e12 tokens: 128 experts, 8 active."""
    return load_model("qwen3-30b-a3b", training_tokens=TOKENS)
