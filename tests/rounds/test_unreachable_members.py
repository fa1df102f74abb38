"""One round machine as leader, of members that nobody can fetch from or that are too slow."""

import msgspec

from support.play import Play, model
from support.roundnode import SESSION, SETTINGS, Node, leading, merge_of
from swarmlearning.ledger.bodies import Depose, Exclusion, Freeze
from swarmlearning.rounds.events import (
    Cancel,
    Fetch,
    Fetched,
    FetchFailed,
    Merge,
    Send,
    SessionRequested,
)
from swarmlearning.rounds.exclusions import MISSHAPEN


def without_b(*others: str) -> Node:
    """`a` leads round 0, which waits for a model of `b` that can be fetched; minPeers is 2."""
    node = leading("b", *others)
    node.play.submit("b")
    node.play.publish(without={"b": "unreachable"}) if node.play.frozen else None
    while node.play.leader != "a":
        node.play.depose(node.play.leader)
    node.advance()
    return node


def test_a_leader_sends_nothing_to_the_ledger_while_it_tries_to_fetch_from_an_unreachable_member() -> None:
    node = without_b()
    fetch = Fetch(model("b", 0), ("b",))
    pauses = []
    for _ in range(12):
        assert node.handle(FetchFailed(model("b", 0), "refused")) == []
        pauses.append(node.timers[-1].seconds)
        assert node.advance() == []
        assert node.fire("retry") == [fetch]
    assert pauses[:4] == [0.1, 0.2, 0.4, 0.8]
    assert pauses[-1] == 60.0


def test_a_leader_freezes_the_round_once_it_has_the_model_of_an_unreachable_member() -> None:
    node = without_b()
    freeze = Freeze(0, node.play.round.term, reached=("b",))
    assert node.handle(Fetched(model("b", 0))) == [Send(freeze)]
    node.accept(freeze)
    node.play.freeze(reached=("b",))
    assert node.advance() == [merge_of(node)]


def test_a_leader_needs_no_model_of_a_member_without_weight_that_another_leader_called_too_slow() -> None:
    """An adversarial leader could keep a round without spare members open for ever (simulation, seed 1319)."""
    node = leading("b")
    node.play.submit("b")
    node.play.publish(without={"b": "too-slow"})
    current = node.play.round
    inactive = msgspec.structs.replace(current.submissions["b"], weight=0)
    current = msgspec.structs.replace(current, submissions={**current.submissions, "b": inactive})
    node.play.state = msgspec.structs.replace(node.play.state, round=current)
    while node.play.leader != "a":
        node.play.depose(node.play.leader)
    assert Send(Freeze(0, node.play.round.term, reached=("b",))) in node.advance()


def test_a_leader_that_waits_for_an_unreachable_member_lets_another_try_after_its_patience() -> None:
    node = without_b()
    term = node.play.round.term
    depose = Depose(0, term, 1, node.height, "progress")
    assert node.fire("unreachable") == [Send(depose)]
    node.accept(depose)
    node.play.depose("a")
    node.play.depose(node.play.leader)
    assert node.play.leader == "a"
    node.advance()
    waits = node.seconds("unreachable")
    assert waits[-1] > waits[0], "longer each time"


def test_a_leader_to_which_an_unreachable_members_bytes_come_slowly_goes_on() -> None:
    node = without_b()
    assert node.fire("unreachable", moved=10) == []
    assert node.fire("unreachable", moved=20) == []
    assert [type(action) for action in node.fire("unreachable", moved=20)] == [Send]


def test_a_merge_does_not_wait_for_an_unreachable_member_when_enough_others_are_in() -> None:
    node = without_b()
    node.play.open("c")
    node.play.submit("c")
    assert node.play.frozen
    assert node.advance() == [Fetch(model("c", 0), ("c",))]
    (merge,) = node.handle(Fetched(model("c", 0)))
    assert isinstance(merge, Merge)
    assert [part.uid for part in merge.unusable] == ["b"]


def test_a_contributor_that_takes_three_times_as_long_as_the_others_is_left_out_by_name() -> None:
    node = leading("b", "c")
    node.play.submit("b", "c")
    node.advance()
    node.now = 20.0
    node.handle(Fetched(model("b", 0)))
    assert node.timers[-1].timer.purpose == "slow"
    assert node.timers[-1].seconds == 40.0
    node.now = 60.0
    cancel, merge = node.fire("slow")
    assert cancel == Cancel(Fetch(model("c", 0), ("c",)))
    assert isinstance(merge, Merge)
    assert [(part.uid, part.reason) for part in merge.unusable] == [("c", "too-slow")]


def test_a_model_of_another_size_is_no_model_of_this_training_and_its_site_not_out_of_reach() -> None:
    node = leading("b", "c")
    node.play.submit("b", "c")
    node.advance()
    node.handle(Fetched(model("b", 0)))
    (merge,) = node.handle(FetchFailed(model("c", 0), "it has 7 bytes", "misshapen"))
    assert isinstance(merge, Merge)
    assert merge.unusable == (Exclusion("c", "structure", MISSHAPEN),)


def test_a_contributor_that_is_needed_is_not_left_out_however_slow_it_is() -> None:
    node = leading("b")
    node.play.submit("b")
    node.advance()
    assert node.started("slow") == []


def test_a_leader_whose_last_result_nobody_could_fetch_merges_again_after_a_pause_only() -> None:
    play = Play("a")
    play.open("b", may_lead=False)
    play.submit("a", "b")
    play.publish()
    play.missing("b")
    play.missing("b", lasting=True)
    play.void()
    assert play.member("a").unreachable
    node = Node(play, "a", held=[model("a", 0), model("b", 0)])
    node.handle(SessionRequested(SESSION))
    node.accept(SESSION)
    play.submit("a", "b")
    assert play.leader == "a"
    assert node.advance() == []
    assert node.timers[-1].seconds == 30.0
    assert node.fire("merge-delay") == [merge_of(node)]


def test_a_leader_that_was_deposed_often_does_not_pause_longer_before_it_merges_again() -> None:
    """Two sites of one organisation and a lying SN deposed the only other leader 19 times: it paused for hours."""
    play = Play("a")
    play.open("b", may_lead=False)
    play.open("c", may_lead=False)
    assert SETTINGS.patience(play.round) == 30.0
    before = SETTINGS.merge_delay(play.round)
    for _ in range(3):
        play.depose("b", "c")
    assert play.leader == "a"
    assert SETTINGS.patience(play.round) > 200.0
    assert SETTINGS.merge_delay(play.round) == before == 15.0
