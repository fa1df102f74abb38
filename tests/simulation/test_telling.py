"""Which lines count as naming those whom a waiting site waits for."""

from collections.abc import Iterator

import pytest

from simulation.scenario import Scenario
from simulation.site import Plan, Site
from simulation.swarm import Swarm
from simulation.telling import names_those_missing
from simulation.unsigned import signatures_unchecked

MERGING = "round 0: sl-1 is merging 2 models; earlier leaders could not fetch models from "


@pytest.fixture
def sites() -> Iterator[dict[str, Site]]:
    with signatures_unchecked():
        yield Swarm(Scenario((Plan(), Plan(), Plan()), min_peers=3), 0).sites


@pytest.mark.parametrize("trouble", ["dead", "walled"])
def test_a_site_is_named_whose_models_the_leader_has_though_earlier_ones_could_not_fetch_them(
    sites: dict[str, Site], trouble: str
) -> None:
    """One that had left counted only where the line says since when (seed 92004626)."""
    setattr(sites["sl-2"], trouble, True)
    assert names_those_missing(MERGING + "sl-2", sites)
    assert names_those_missing(MERGING + "sl-3, sl-2", sites)


def test_a_site_that_is_gone_is_not_named_as_such_by_a_line_that_says_it_is_at_work(sites: dict[str, Site]) -> None:
    sites["sl-1"].dead = True
    assert not names_those_missing(MERGING + "sl-3", sites)
