"""Benchmarks of silicon stay within what they promise, each chip left out."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from codesign.config.technology import load_technology
from codesign.technology.constants import Technology

SCRIPT = Path(__file__).resolve().parents[2] / "benchmarks" / "silicon.py"
MAX_AREA_ERROR, MAX_POWER_ERROR, MAX_HOUR_ERROR = 0.14, 0.12, 0.15
USER_TOLERANCE = {"groqchip1": 0.15, "wse-3": 0.40}


@pytest.fixture(scope="module")
def silicon() -> ModuleType:
    spec = importlib.util.spec_from_file_location("silicon_benchmark", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def technology() -> Technology:
    return load_technology()


def test_die_areas_left_out(silicon: ModuleType, technology: Technology):
    lines, constants = silicon.area_lines(technology)
    assert len(lines) == 20
    assert len(constants) == 6
    assert silicon.mean_error(lines) < MAX_AREA_ERROR


def test_power_of_matrix_products_left_out(silicon: ModuleType, technology: Technology):
    lines, fits = silicon.gemm_lines(technology)
    assert len(fits) == 3
    for bits in ("16 bit", " 8 bit"):
        chosen = [line for line in lines if line.name.endswith(bits)]
        assert silicon.mean_error(chosen) < MAX_POWER_ERROR, bits


def test_energy_of_8_over_16_bit(silicon: ModuleType, technology: Technology):
    rows = silicon.format_ratios(technology)
    assert len(rows) == 5
    for name, measured, model in rows:
        assert 0.45 < model < 0.60, name
        assert model == pytest.approx(measured, rel=0.16), name


def test_dollars_per_gpu_hour(silicon: ModuleType, technology: Technology):
    given, *others = silicon.gpu_hours(technology)
    assert given.error == pytest.approx(0.0, abs=1e-9)
    assert len(others) == 5
    assert max(abs(line.error) for line in others) < MAX_HOUR_ERROR


def test_counts_of_stacks(silicon: ModuleType, technology: Technology):
    rows = silicon.stack_rows(technology)
    assert len(rows) >= 20
    for row in rows:
        assert row.derived == pytest.approx(row.published), row.name
    over = {row.name for row in rows if row.edge_share > 1}
    assert over == {"gaudi2", "gaudi3", "h200-sxm", "maia-200"}


def test_speed_of_one_user_from_one_latency(silicon: ModuleType):
    for user in silicon.USERS:
        off = silicon.user_time(user) * user.published - 1
        if user.fitted:
            assert abs(off) < 0.02, user
        elif user.chip in USER_TOLERANCE:
            assert abs(off) < USER_TOLERANCE[user.chip], user


def test_published_speeds_of_sn40l_exceed_its_bandwidth(silicon: ModuleType):
    """One read of the weights per token is slower: they are speculative decoding."""
    read = {"llama-3-70b": 141e9, "llama-3.1-405b": 810e9}
    for user in silicon.USERS:
        if user.chip == "sn40l" and not user.fitted:
            limit = user.num_chips * 1.6e12 / read[user.model]
            assert user.published > 2 * limit
            assert 1 / silicon.user_time(user) < limit


def test_page_has_every_table(silicon: ModuleType):
    text = silicon.page()
    for title in ("Die area", "matrix product", "GPU-hour", "shoreline", "one user"):
        assert title in text
    assert not np.any([word in text for word in ("nan", "inf ")])
