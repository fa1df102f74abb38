"""Who may have a model: by the training that names it."""

import msgspec
import pytest

from support.play import Play, merged, model
from swarmlearning.ledger.contracts.network import Node
from swarmlearning.ledger.world import World
from swarmlearning.sl.readers import may_read

UNKNOWN = "0" * 64


def node(uid: str) -> Node:
    return Node(uid, "SL", uid, f"CN={uid}", f"certificate-{uid}", 1, True, False, "1", {})


def world(*plays: Play) -> World:
    """Nodes a to f, and these trainings."""
    trainings = {f"training/{number}": play.state for number, play in enumerate(plays)}
    return World().with_entries({f"node/{uid}": node(uid) for uid in "abcdef"}).with_entries(trainings)


def readers(state: World, uid: str, digest: str) -> str:
    """Those of a to f who get this model from `uid`."""
    return "".join(reader for reader in "abcdef" if may_read(state, uid, f"certificate-{reader}", digest))


@pytest.fixture
def first() -> Play:
    """Nodes a, b and c: round 0 is over, a has submitted for round 1."""
    play = Play("a", "b", "c")
    play.complete_round("a", "b", "c")
    play.submit("a")
    return play


def test_the_members_of_its_training_may_have_a_model(first: Play) -> None:
    state = world(first, Play("d", "e"))
    for digest in (model("a", 1), merged(0), model("b", 0)):
        assert readers(state, "a", digest) == "abc"
    assert not may_read(state, "a", "certificate-of-nobody", merged(0))


def test_a_node_in_two_trainings_keeps_their_models_apart(first: Play) -> None:
    second = Play("a", "d", "e")
    second.complete_round("a", "d", "e")
    second.state = msgspec.structs.replace(second.state, name="second")
    own = msgspec.structs.replace(second.result, digest=UNKNOWN)
    second.state = msgspec.structs.replace(second.state, result=own)
    state = world(first, second)
    assert readers(state, "a", model("a", 1)) == "abc"
    assert readers(state, "a", UNKNOWN) == "ade"


def test_a_model_not_named_yet_is_for_the_trainings_of_the_node_that_holds_it(first: Play) -> None:
    state = world(first, Play("d", "e"), Play("c", "f"))
    assert readers(state, "a", UNKNOWN) == "abc"
    assert readers(state, "c", UNKNOWN) == "abcf"


def test_a_node_without_training_serves_nobody(first: Play) -> None:
    assert readers(world(first), "f", merged(0)) == ""
    assert readers(World(), "a", merged(0)) == ""
