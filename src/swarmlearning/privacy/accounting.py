"""The ε of all that was given with Gaussian noise, by `dp-accounting`.

Releases with the noise multipliers z₁ … zₙ, each chosen with knowledge of those before, compose to exactly one release
with z = 1/√(Σ 1/zᵢ²) (Dong, Roth, Su: Gaussian Differential Privacy, 2022, corollary 3.3). The library's function for
one Gaussian release is exact too (Balle, Wang: Improving the Gaussian Mechanism, 2018). Its accountants of privacy loss
distributions give the same to four digits, but need seconds and gigabytes for little noise.

Nothing is gained here by sampling: no amplification is claimed, neither by the script's batches nor by who takes part.
"""

import math
from collections.abc import Iterable
from typing import Final

from swarmlearning.errors import UserError

LEAST_NOISE: Final = 1e-6
MOST_NOISE: Final = 1e5
"""Composed multipliers between which the library's function converges: a ledger may state any."""
LEAST_DELTA: Final = 1e-300
"""Below it are no probabilities that a float has."""


class AccountingError(UserError):
    """The library that composes ε is not installed, or cannot be used."""


def composed_epsilon(noises: Iterable[float], delta: float) -> float:
    """ε at `delta` of releases with these noise multipliers (standard deviation / sensitivity, each > 0); 0 of none.

    Infinite where the noise is too little to bound anything, or no bound is defined at this `delta`; more noise than
    `MOST_NOISE` counts as that. Raises `AccountingError`.
    """
    inverse = math.hypot(*(1 / noise for noise in noises))  # √(Σ 1/zᵢ²), however large or small
    if not inverse:
        return 0.0
    if not LEAST_DELTA <= delta < 1 or inverse > 1 / LEAST_NOISE:
        return math.inf
    try:
        from dp_accounting.gaussian_mechanism import get_epsilon_gaussian
    except ImportError as error:
        raise AccountingError(
            f"a privacy policy with noise needs the library dp-accounting ({error}): `pip install "
            "swarmlearning[privacy]`, in a container too; the images of this version have it"
        ) from error
    return float(get_epsilon_gaussian(min(1 / inverse, MOST_NOISE), delta))
