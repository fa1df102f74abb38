"""The nodes that may read a model: members a result, the leader alone what one site has contributed."""

from dataclasses import replace
from functools import cache

import msgspec
import pytest

from support.network import Ledger
from support.play import Play, merged, model
from swarmlearning.ledger.chain import Chain
from swarmlearning.ledger.contracts.network import Certificate
from swarmlearning.sl.readers import may_read

UNKNOWN = "0" * 64


@cache
def network() -> Ledger:
    """Registered SLs a to f."""
    ledger = Ledger()
    for uid in "abcdef":
        ledger.join(uid)
    return ledger


def certificate(uid: str) -> str:
    return network().actors[uid].signer.thumbprint


def world(*plays: Play) -> Chain:
    """These trainings of nodes a to f."""
    chain = network().chain
    trainings = {f"training/{number}": play.state for number, play in enumerate(plays)}
    return replace(chain, world=chain.world.with_entries(trainings))


def readers(state: Chain, uid: str, digest: str) -> str:
    """Those of a to f who get this model from `uid`."""
    return "".join(reader for reader in "abcdef" if may_read(state, uid, certificate(reader), digest))


@pytest.fixture
def first() -> Play:
    """Nodes a, b and c: round 0 is over, a has submitted for round 1."""
    play = Play("a", "b", "c")
    play.complete_round("a", "b", "c")
    play.submit("a")
    return play


def test_the_members_of_its_training_may_read_a_result(first: Play) -> None:
    state = world(first, Play("d", "e"))
    assert readers(state, "a", merged(0)) == "abc"
    assert not may_read(state, "a", "0" * 64, merged(0))


def test_only_the_leader_may_read_what_one_site_has_contributed(first: Play) -> None:
    assert first.leader == "b"
    assert readers(world(first, Play("d", "e")), "a", model("a", 1)) == "b"


def test_whoever_takes_over_from_a_leader_may_read_in_its_place(first: Play) -> None:
    first.set_attendance("b", "lost")
    assert first.leader not in ("b", "")
    assert readers(world(first), "a", model("a", 1)) == first.leader


def test_a_model_that_came_late_is_for_the_leader_too(first: Play) -> None:
    first.submit("b")
    first.freeze()
    first.submit("c")
    assert readers(world(first), "c", model("c", 1)) == "b"


def test_nobody_may_read_what_was_contributed_to_a_round_that_is_over(first: Play) -> None:
    assert readers(world(first), "b", model("b", 0)) == ""


def test_the_base_of_the_round_in_progress_is_for_all_members(first: Play) -> None:
    assert first.round.base == merged(0)
    assert readers(world(first), "c", first.round.base) == "abc"


def test_a_member_whose_certificate_is_revoked_gets_no_model_any_more(first: Play) -> None:
    state = world(first)
    stored = state.world.get(f"certificate/{certificate('b')}", Certificate)
    assert stored is not None
    revoked = msgspec.structs.replace(stored, revoked=True)
    state = replace(state, world=state.world.with_entries({f"certificate/{stored.thumbprint}": revoked}))
    assert readers(state, "a", merged(0)) == "ac"


def test_a_node_in_two_trainings_keeps_their_models_apart(first: Play) -> None:
    second = Play("a", "d", "e")
    second.complete_round("a", "d", "e")
    second.state = msgspec.structs.replace(second.state, name="second")
    own = msgspec.structs.replace(second.result, digest=UNKNOWN)
    second.state = msgspec.structs.replace(second.state, result=own)
    state = world(first, second)
    assert readers(state, "a", model("a", 1)) == "b"
    assert readers(state, "a", UNKNOWN) == "ade"


def test_a_model_that_no_training_names_is_served_to_nobody(first: Play) -> None:
    state = world(first, Play("d", "e"), Play("c", "f"))
    assert readers(state, "a", UNKNOWN) == ""
    assert readers(state, "c", UNKNOWN) == ""


def test_a_node_without_a_training_serves_no_models(first: Play) -> None:
    assert readers(world(first), "f", merged(0)) == ""
    assert readers(world(), "a", merged(0)) == ""
