"""What does a device draw idle, busy, per byte and per multiply-accumulate?

Powers of kernels, energies expected of the chip -> floor, power of a busy chip and
energies, each with the share that the measured powers say of it.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls

from codesign.core.quantities import Fraction, JoulesPerByte, JoulesPerMac, Watts
from codesign.hardware.anchor import byte_energy, dense_mac_energy
from codesign.hardware.silicon import Silicon
from codesign.measure.kernels import (
    CACHED,
    IDLE,
    SHARED,
    STREAM,
    Kernel,
    native_narrow_products,
    real_loops,
    wide_products,
)

PRIOR = 0.02  # a reading is good to 2 %, an expected energy to a factor of 2
KNOWN = 0.5  # share of the measured powers in a value from which on it is measured


@dataclass(frozen=True)
class Energies:
    """Floor, power of a busy chip, joules per byte by where it lies and per MAC.

    ``byte`` lies in DRAM, ``resident_byte`` in the cache of all cores, ``bank_byte``
    in the memory beside one.
    """

    static: Watts
    active: Watts
    byte: JoulesPerByte
    resident_byte: JoulesPerByte
    bank_byte: JoulesPerByte
    mac_16bit: JoulesPerMac
    mac_8bit: JoulesPerMac


@dataclass(frozen=True)
class FittedEnergies:
    """Fitted values, NaN without a meter, and what of each was measured.

    ``measured`` is 1 where kernels alone decide and 0 where the value is as expected.
    """

    values: Energies
    measured: Mapping[str, Fraction]

    def is_measured(self, name: str) -> bool:
        """Whether kernels say more of a value than what was expected."""
        known = float(self.measured[name]) >= KNOWN
        return known and float(getattr(self.values, name)) > 0


def expected_energies(built: Silicon) -> Energies:
    """What the model says of a chip; its floor has to be measured."""
    return Energies(
        static=math.nan,
        active=float(built.active_power),
        byte=float(byte_energy(built)),
        resident_byte=float(built.resident_energy),
        bank_byte=float(built.bank_energy),
        mac_16bit=float(dense_mac_energy(built, bits=16)),
        mac_8bit=float(dense_mac_energy(built, bits=8)),
    )


def fit_energies(kernels: Sequence[Kernel], expected: Energies) -> FittedEnergies:
    """Non-negative least squares of relative errors over all kernels, and a prior.

    P = P_static + P_active [busy] + sum_m e_m B_m + sum_f e_f MAC_f/s

    over memories m (DRAM, cache, beside the core) and formats f; every term but the
    floor has a weak prior, its expected value to a factor of two. ``measured`` is
    1 - w^2 (A^T A + w^2)^-1_jj with columns A in units of what is expected.

    Assumes: a loop on the chip moves nothing from DRAM; a product moves its operands
    once; full voltage. Products of zeros are left out: their bits do not toggle. So
    are 8-bit products that run in a wider format, and loops that were removed.
    """
    used = _used(kernels)
    names = list(asdict(expected))
    if not used or used[0].kind != IDLE:
        nothing = dict.fromkeys(names, math.nan)
        return FittedEnergies(Energies(**nothing), dict.fromkeys(names, 0.0))
    powers = np.array([kernel.power for kernel in used])
    scale = np.array([_unit(value, powers[0]) for value in asdict(expected).values()])
    narrow = native_narrow_products(kernels)
    table = np.array([_terms(kernel, narrow=narrow) for kernel in used])
    table = table * scale / powers[:, None]
    goals = np.array(list(asdict(expected).values()))[1:] / scale[1:]
    left = np.concatenate([table, PRIOR * np.eye(len(names))[1:]])
    right = np.concatenate([np.ones(len(used)), PRIOR * goals])
    found, _ = nnls(left, right)
    values = {n: float(v) for n, v in zip(names, found * scale, strict=True)}
    shares = dict(zip(names, _measured_shares(left), strict=True))
    return FittedEnergies(Energies(**values), shares)


def _used(kernels: Sequence[Kernel]) -> list[Kernel]:
    kept = {
        *wide_products(kernels),
        *native_narrow_products(kernels),
        *real_loops(kernels, CACHED),
        *real_loops(kernels, SHARED),
    }
    return [
        k
        for k in kernels
        if math.isfinite(k.power) and (k.kind in (IDLE, STREAM) or k in kept)
    ]


def _terms(kernel: Kernel, *, narrow: Sequence[Kernel]) -> list[float]:
    """What multiplies each of the energies, in their order."""
    product = kernel.flops > 0 and kernel.kind not in (STREAM, CACHED, SHARED)
    moved = float(kernel.bandwidth)
    macs = float(kernel.compute / 2) if product else 0.0
    in_eight = kernel in narrow
    return [
        1.0,
        float(kernel.kind != IDLE),
        moved if product or kernel.kind == STREAM else 0.0,
        moved if kernel.kind == CACHED else 0.0,
        moved if kernel.kind == SHARED else 0.0,
        0.0 if in_eight else macs,
        macs if in_eight else 0.0,
    ]


def _unit(expected: float, floor: float) -> float:
    """What is expected, as the unit of its fitted value; the floor where it is 0."""
    return expected if math.isfinite(expected) and expected > 0 else max(floor, 1.0)


def _measured_shares(table: NDArray[np.float64]) -> list[float]:
    information = table.T @ table
    spread = np.diag(np.linalg.pinv(information))
    shares = 1.0 - PRIOR**2 * spread
    shares[0] = 1.0
    return [float(share) for share in np.clip(shares, 0.0, 1.0)]
