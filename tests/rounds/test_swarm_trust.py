"""Whole trainings in virtual time in which a certificate is revoked, or the clocks of the nodes differ."""

import random
from collections.abc import Callable, Iterator

import pytest

from simulation.faults import revoke
from simulation.site import Plan
from simulation.troubles import set_clocks
from simulation.unsigned import signatures_unchecked
from support.stories import published, results, round_open, run, strikes, swarms
from swarmlearning.ledger.bodies import Publish, Revoke
from swarmlearning.ledger.contracts.training.state import Training


@pytest.fixture(autouse=True)
def unsigned() -> Iterator[None]:
    with signatures_unchecked():
        yield


def led_by(uid: str) -> Callable[[Training], bool]:
    return lambda state: state.rounds > 0 and state.round is not None and state.round.leader == uid


FROZEN = round_open(1, 4, "frozen")


@pytest.mark.parametrize("moment", [round_open(1), round_open(1, 1), FROZEN, published(1), led_by("sl-2")])
def test_a_member_whose_certificate_is_revoked_is_shut_out_and_the_others_finish(
    moment: Callable[[Training], bool],
) -> None:
    for swarm in swarms(*[Plan(rounds=4)] * 4, min_peers=3):
        swarm.sites["sl-2"].papers = "SL-2"
        swarm.moments.when(moment, strikes(swarm, revoke, "sl-2"))
        run(swarm)
        contents = [entry.content for entry in swarm.log.accepted]
        (revoked,) = [height for height, one in enumerate(contents) if isinstance(one.body, Revoke)]
        assert swarm.training.members["sl-2"].attendance == "left"
        assert "sl-2" not in {one.sender for one in contents[revoked:]}
        merged = [one.body.receipt.contributions for one in contents[revoked:] if isinstance(one.body, Publish)]
        assert "sl-2" not in {part.uid for parts in merged for part in parts}
        assert [part.uid for part in results(swarm)[-1].receipt.contributions] == ["sl-1", "sl-3", "sl-4"]


def test_clocks_that_are_off_by_days_and_drift_do_not_disturb_a_training() -> None:
    for seed, swarm in enumerate(swarms(*[Plan(rounds=4)] * 4, min_peers=4)):
        set_clocks(swarm, random.Random(seed))
        run(swarm)
        assert [len(body.receipt.contributions) for body in results(swarm)] == [4] * 5
        assert set(swarm.log.said()).isdisjoint({"Depose", "Void"})
