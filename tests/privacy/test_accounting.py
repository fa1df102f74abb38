"""The composed ε, against the accountants of dp-accounting and the definition itself."""

import math
import sys
from statistics import NormalDist

import pytest
from dp_accounting import NeighboringRelation
from dp_accounting.dp_event import GaussianDpEvent
from dp_accounting.pld import PLDAccountant
from dp_accounting.rdp import RdpAccountant

from swarmlearning.privacy.accounting import AccountingError, composed_epsilon

MIXTURES = [[1.0], [2.0] * 5, [4.0, 1.5, 8.0], [20.0] * 100, [3.0, 30.0]]


@pytest.mark.parametrize("noises", MIXTURES)
@pytest.mark.parametrize("delta", [1e-5, 1e-8])
def test_epsilon_is_that_of_the_library_s_accountants(noises: list[float], delta: float) -> None:
    exact, bound = PLDAccountant(NeighboringRelation.REPLACE_SPECIAL), RdpAccountant()
    for noise in noises:
        exact.compose(GaussianDpEvent(noise))
        bound.compose(GaussianDpEvent(noise))
    found = composed_epsilon(noises, delta)
    assert found == pytest.approx(exact.get_epsilon(delta), rel=1e-3)
    assert found < bound.get_epsilon(delta)


@pytest.mark.parametrize("noises", MIXTURES)
def test_epsilon_is_that_of_the_definition(noises: list[float]) -> None:
    """δ(ε) = Φ(μ/2 − ε/μ) − e^ε Φ(−μ/2 − ε/μ), with μ² the sum of the squares (Dong, Roth, Su)."""
    mu = math.sqrt(sum(noise**-2 for noise in noises))
    epsilon = composed_epsilon(noises, 1e-6)
    cdf = NormalDist().cdf
    delta = cdf(mu / 2 - epsilon / mu) - math.exp(epsilon) * cdf(-mu / 2 - epsilon / mu)
    assert delta == pytest.approx(1e-6, rel=1e-3)


@pytest.mark.parametrize("noise", [5e-324, 1e-160, 1.0, 1.7e308])
@pytest.mark.parametrize("delta", [0.0, 5e-324, 1e-300, 1e-5, 1.0, 1e300])
def test_whatever_a_site_states_composes_to_a_number(noise: float, delta: float) -> None:
    """The ledger takes any noise and δ that are not negative: a false one must not end who verifies it."""
    found = composed_epsilon([noise, noise], delta)
    assert found >= 0
    if noise <= 1e-160 or not 1e-300 <= delta < 1:
        assert found == math.inf


def test_every_release_costs_something_and_the_order_does_not_matter() -> None:
    found = [composed_epsilon([2.0, 5.0, 3.0][:count], 1e-6) for count in range(4)]
    assert found[0] == 0.0
    assert found == sorted(found)
    assert len(set(found)) == 4
    assert composed_epsilon([3.0, 2.0, 5.0], 1e-6) == pytest.approx(found[3], rel=1e-12)


def test_a_missing_library_is_named_with_what_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "dp_accounting.gaussian_mechanism", None)
    with pytest.raises(AccountingError, match=r"pip install swarmlearning\[privacy\]"):
        composed_epsilon([1.0], 1e-6)
