"""Results that an operator fetches: which one, for whom, and from where."""

from dataclasses import replace

import pytest

from support.network import CONTRACT, Ledger
from support.play import Play, full, merged, two
from swarmlearning.errors import UserError
from swarmlearning.ledger.bodies import Announce
from swarmlearning.ledger.chain import Chain
from swarmlearning.ledger.contracts import network
from swarmlearning.ledger.contracts.training.state import Charter
from swarmlearning.operator.results import Wanted, wanted

OWN = Charter(owner="org-1", members=("org-1",))
OTHERS = Charter(owner="org-2", members=("org-2",))


@pytest.fixture
def ledger() -> Ledger:
    """An organisation with an operator and the sites a and b, of which each has a file server."""
    made = Ledger()
    made.join("op", "SWCI")
    for uid in ("a", "b"):
        made.join(uid)
        made.send(uid, Announce({"fs": f"site-{uid}:30305"}), network.CONTRACT)
    return made


def with_training(ledger: Ledger, play: Play) -> Chain:
    world = ledger.chain.world.with_entries({"training/contract": play.state})
    return replace(ledger.chain, world=world)


def trained(charter: Charter = OWN) -> Play:
    """The result of round 0 stands, and both sites hold it."""
    play = Play("a", "b", charter=charter)
    play.complete_round("a", "b")
    return play


def found(ledger: Ledger, play: Play, uid: str = "op") -> Wanted:
    return wanted(with_training(ledger, play), "contract", ledger.actors[uid].signer.thumbprint)


def test_the_standing_result_is_fetched_from_the_sites_that_hold_it(ledger: Ledger) -> None:
    result = found(ledger, trained())
    assert (result.run, result.round, result.digest, result.size) == (1, 0, merged(0), 1)
    assert result.sources == (("site-a", 30305), ("site-b", 30305))


def test_a_site_that_has_announced_no_file_server_or_has_left_is_no_source(ledger: Ledger) -> None:
    ledger.send("a", Announce({}), network.CONTRACT)
    assert found(ledger, trained()).sources == (("site-b", 30305),)


def test_where_no_site_that_holds_the_result_runs_the_refusal_names_what_to_do(ledger: Ledger) -> None:
    for uid in ("a", "b"):
        ledger.send(uid, Announce({}), network.CONTRACT)
    with pytest.raises(UserError, match=r"none of the SLs that hold the result .* runs; start one .* swarm model get"):
        found(ledger, trained())


@pytest.mark.parametrize("play", [two, full], ids=["collecting", "frozen"])
def test_a_training_without_a_complete_round_has_no_result(ledger: Ledger, play: object) -> None:
    with pytest.raises(UserError, match="contract contract has no result: no round of run 1 is complete"):
        found(ledger, play())  # type: ignore[operator]


def test_an_operator_of_an_organisation_that_the_contract_does_not_name_is_refused_before_anything_is_fetched(
    ledger: Ledger,
) -> None:
    with pytest.raises(UserError, match=r"are for operators of org-2, not for a SWCI of org-1; see `swarm policy"):
        found(ledger, trained(OTHERS))


def test_a_contract_that_does_not_exist_is_refused(ledger: Ledger) -> None:
    with pytest.raises(UserError, match="there is no training contract"):
        wanted(ledger.chain, CONTRACT, ledger.actors["op"].signer.thumbprint)
