"""One round machine as leader, of a round whose only model is the previous result, which it cannot get."""

import msgspec

from support.play import merged, model
from support.roundnode import Node, joined, merge_of, merged_by, published_by
from swarmlearning.ledger.bodies import Freeze
from swarmlearning.rounds.events import Fetch, Fetched, Send


def given_the_previous_result_alone() -> Node:
    """`b` leads round 1; the result of round 0, which only `a` has and serves in drips, is all that is submitted."""
    node = joined("b", min_peers=1)
    node.play.submit("a")
    node.play.freeze("a")
    node.play.publish("a")
    node.play.report("a")
    node.play.close("a", "active")
    node.play.submit("a", kind="active", digest=merged(0))
    node.play.freeze("b", stragglers=("b",))
    assert Fetch(merged(0), ("a",)) in node.advance()
    return node


def test_a_leader_closes_a_round_whose_only_model_is_the_previous_result_once_nobody_waits_for_that() -> None:
    """A site that had finished, could not lead and served results in drips kept a training from ending, though the
    result was to be its own model again (seed 93009522)."""
    node = given_the_previous_result_alone()
    node.play.missing("b")
    node.advance()
    assert node.started("base") == [], "it may come"
    node.play.missing("b", lasting=True)
    node.advance()
    assert node.fire("base", moved=1) == [merge_of(node, base=merged(0))]
    assert Send(published_by(node, merged(0))) in node.handle(merged_by(node, merged(0)))
    node.play.publish("b", result=merged(0))
    assert node.play.state.over
    assert node.play.result.holders == ("a",)


def test_a_leader_does_not_close_a_round_without_the_previous_result_while_that_may_come_or_be_made_again() -> None:
    node = given_the_previous_result_alone()
    node.play.open("c")
    node.play.missing("b", "c")
    node.play.missing("b", lasting=True)
    node.advance()
    assert node.started("base") == [], "another site may still get it"
    node.play.missing("c", lasting=True)
    node.advance()
    assert node.started("base") == [], "more sites have given it up than hold it"
    node.play.void()


def test_a_leader_that_has_a_model_beside_the_previous_result_does_not_merge_that_without_having_it() -> None:
    node = given_the_previous_result_alone()
    node.play.missing("b")
    node.play.missing("b", lasting=True)
    current = node.play.round
    mine = msgspec.structs.replace(current.submissions["a"], uid="b", digest=model("b", 1))
    current = msgspec.structs.replace(current, submissions={**current.submissions, "b": mine})
    node.play.state = msgspec.structs.replace(node.play.state, round=current)
    node.advance()
    node.handle(Fetched(model("b", 1)))
    assert node.started("base") == []


def test_a_leader_closes_such_a_round_where_its_holder_refuses_every_fetch() -> None:
    node = given_the_previous_result_alone()
    node.play.publish("b", without={"a": "unreachable"})
    assert node.play.leader == "a"
    node.play.depose("a")
    assert node.play.leader == "b"
    node.play.missing("b")
    node.advance()
    assert node.started("grace") == []
    node.play.missing("b", lasting=True)
    term = node.play.round.term
    assert Send(Freeze(1, term, reached=("a",))) in node.advance()
    node.play.freeze("b", reached=("a",))
    node.advance()
    assert node.fire("base", moved=1) == [merge_of(node, base=merged(0))]
