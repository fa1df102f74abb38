"""A site with a privacy lock: what it submits is what the lock has made, once for each round, base and model."""

import msgspec
import pytest

from support.play import Play, merged, model
from support.roundnode import LOADED, SESSION, SETTINGS, Node, merge_of
from swarmlearning.choices import CheckinMode
from swarmlearning.ledger.bodies import CloseSession, Exclusion, Freeze, Privacy, Submit
from swarmlearning.ledger.contracts.training.submissions import NO_MODEL
from swarmlearning.rounds.events import (
    Action,
    AnswerOpened,
    Cancel,
    Deliver,
    Fetch,
    Fetched,
    LocalFailure,
    Release,
    Released,
    Send,
    SessionRequested,
)
from swarmlearning.rounds.machine import RoundMachine

CLIPPED = Privacy(1.0)
NOISY = Privacy(1.0, noise=1.0, delta=1e-6, epsilon=4.0, releases=1)
GIVEN = "91" * 32


def locked() -> Node:
    """`b`, with a lock, has opened its session beside `a`."""
    node = Node(Play(min_peers=2), "b")
    node.machine = RoundMachine("b", 1, node.play.state, SETTINGS, (), ())
    node.handle(SessionRequested(SESSION))
    for member in "ab":
        node.play.open(member)
    node.accept(SESSION)
    assert node.advance() == [AnswerOpened()]
    return node


def release(number: int, base: str = "") -> Release:
    return Release(1, number, base, model("b", number))


def withheld(node: Node) -> list[Action]:
    """It has handed over its first model, of which the lock gives nothing."""
    assert node.hand_over() == [release(0)]
    return node.handle(Released(release(0), "", 0, Privacy(1.0, withheld="no-base")))


def in_round_one() -> Node:
    """It has taken the result of round 0, to which it has given nothing, and trains on from it."""
    node = locked()
    (sent,) = withheld(node)
    assert isinstance(sent, Send)
    node.accept(sent.body)
    node.play.submit("a")
    node.play.submit("b", kind="withheld", digest=NO_MODEL, size=0, privacy=Privacy(1.0, withheld="no-base"))
    node.play.publish()
    node.advance()
    node.handle(Fetched(merged(0)))
    (sent,) = (action for action in node.handle(LOADED) if isinstance(action, Send))
    node.accept(sent.body)
    node.play.report("a", "b")
    node.advance()
    return node


def restarted(node: Node, released: Released, *held: str) -> Node:
    """The same after a restart; its script, which trains on, has opened its session again."""
    here = {merged(0), released.result, *held}
    node.machine = RoundMachine("b", 2, node.play.state, SETTINGS, here, [released])
    node.handle(SessionRequested(SESSION, merged(0)))
    node.play.open("b", incarnation=2)
    node.accept(SESSION)
    node.advance()
    node.play.report("b")
    node.advance()
    return node


def test_in_round_zero_it_submits_that_it_gives_nothing() -> None:
    statement = Privacy(1.0, withheld="no-base")
    assert withheld(locked()) == [Send(Submit(0, "", "withheld", NO_MODEL, 0, 0, statement))]


def test_a_model_is_submitted_as_the_lock_has_made_it() -> None:
    node = in_round_one()
    task = release(1, merged(0))
    assert node.hand_over(1) == [task]
    assert node.advance() == []
    done = Released(task, GIVEN, 5, CLIPPED)
    assert node.handle(done) == [Send(Submit(1, merged(0), "trained", GIVEN, 5, 1, CLIPPED))]
    node.play.submit("b", digest=GIVEN, privacy=CLIPPED)
    assert node.advance() == []


def test_at_the_budget_it_submits_the_base_without_weight() -> None:
    node = in_round_one()
    node.hand_over(1)
    statement = msgspec.structs.replace(NOISY, withheld="budget")
    sent = node.handle(Released(release(1, merged(0)), "", 0, statement))
    assert sent == [Send(Submit(1, merged(0), "withheld", merged(0), 0, 0, statement))]


def test_what_was_given_before_a_restart_is_given_again_without_asking_the_lock() -> None:
    task = release(1, merged(0))
    node = restarted(in_round_one(), Released(task, GIVEN, 5, NOISY))
    assert node.hand_over(1) == [Send(Submit(1, merged(0), "trained", GIVEN, 5, 1, NOISY))]


def test_what_stands_in_the_round_since_before_a_restart_is_known_again() -> None:
    task = release(1, merged(0))
    node = in_round_one()
    node.play.submit("b", digest=GIVEN, privacy=NOISY)
    assert restarted(node, Released(task, GIVEN, 5, NOISY)).hand_over(1) == []


def test_what_a_round_has_merged_before_a_restarted_site_hands_it_over_is_not_carried_over() -> None:
    """The round's receipt names what the lock had made of the model."""
    node = in_round_one()
    node.play.submit("b", digest=GIVEN, privacy=NOISY)
    task = release(1, merged(0))
    restarted(node, Released(task, GIVEN, 5, NOISY), model("b", 1))
    node.play.submit("a")
    node.play.publish()
    assert node.advance()
    assert node.hand_over(1) == []
    assert node.handle(Fetched(merged(1))) == [Deliver(merged(1))]


def test_a_failure_of_this_node_is_tried_again_after_a_pause() -> None:
    node = in_round_one()
    task = release(1, merged(0))
    node.hand_over(1)
    assert node.handle(LocalFailure(task, "the disk is full")) == []
    assert node.advance() == []
    assert node.fire("retry") == [task]


def test_work_of_a_round_that_has_closed_is_cancelled() -> None:
    node = in_round_one()
    node.hand_over(1)
    node.play.open("c")
    node.play.submit("a", "c")
    node.play.freeze()
    node.play.publish()
    assert Cancel(release(1, merged(0))) in node.advance()


@pytest.mark.parametrize(("checkin", "digest"), [("inactive", merged(0)), ("active", merged(0))])
def test_a_site_that_has_ended_gives_nothing_of_its_own_unless_it_wants_to(checkin: CheckinMode, digest: str) -> None:
    node = in_round_one()
    assert node.hand_over(1, closing=True) == [Send(CloseSession(checkin="snapshot"))]
    node.play.close("b", checkin)
    (sent,) = node.advance()
    assert isinstance(sent, Send)
    assert isinstance(sent.body, Submit)
    assert (sent.body.submission, sent.body.digest) == (checkin, digest)


@pytest.mark.parametrize(("statement", "again"), [(NOISY, False), (CLIPPED, True)])
def test_with_noise_what_a_script_has_closed_with_is_made_once(statement: Privacy, again: bool) -> None:
    node = in_round_one()
    node.hand_over(1, closing=True)
    node.play.close("b")
    (task,) = node.advance()
    assert isinstance(task, Release)
    (sent,) = node.handle(Released(task, GIVEN, 5, statement))
    assert isinstance(sent, Send)
    node.accept(sent.body)
    node.play.submit("b", kind="snapshot", digest=GIVEN, privacy=statement)
    node.play.submit("a")
    node.play.publish()
    decided = [*node.advance(), *node.handle(Fetched(merged(1)))]
    submits = [action for action in decided if isinstance(action, Send) and isinstance(action.body, Submit)]
    assert [each.body.digest for each in submits if isinstance(each.body, Submit)] == ([] if again else [GIVEN])
    assert (Release(1, 2, merged(1), model("b", 1)) in decided) == again


# --- the leader of others with locks ---------------------------------------------------------------------------------

DEMANDING = Privacy(1.0, contributors=3)


def leader(*members: str) -> Node:
    """`b` leads round 1; its own model is in, and all others have loaded the base."""
    node = Node(Play("a", "b", "c"), "b", [merged(0), model("b", 1)])
    node.play.complete_round("a", "b", "c")
    assert node.play.leader == "b"
    node.play.submit("b")
    return node


def test_a_model_that_demands_contributors_is_fetched_once_they_are_fixed() -> None:
    node = leader()
    node.play.submit("a", privacy=DEMANDING)
    assert not [action for action in node.advance() if isinstance(action, Fetch)]
    node.play.submit("c")
    assert node.play.frozen
    fetched = {action.digest for action in node.advance() if isinstance(action, Fetch)}
    assert fetched == {model("a", 1), model("c", 1)}


def test_a_round_with_fewer_leaves_it_out() -> None:
    node = leader()
    node.play.submit("a", privacy=Privacy(1.0, contributors=4))
    node.play.submit("c")
    node.advance()
    decided = node.handle(Fetched(model("c", 1)))
    text = "its privacy lock gives its model to 4 contributors, and the round has 3"
    assert merge_of(node, Exclusion("a", "kept-back", text), base=merged(0)) in decided


def test_one_that_could_not_be_fetched_is_tried_again_with_fixed_contributors() -> None:
    play = Play("a", "b", "c", min_peers=3)
    play.complete_round("a", "b", "c")
    play.submit("b", "c")
    play.submit("a", privacy=DEMANDING)
    play.publish(without={"a": "unreachable"})
    node = Node(play, play.leader, [merged(0), model("b", 1), model("c", 1)])
    begun = node.advance()
    assert not [action for action in begun if isinstance(action, Fetch)]
    assert not [action for action in begun if isinstance(action, Send) and isinstance(action.body, Freeze)]
    now = play.round
    assert node.fire("unreachable") == [Send(Freeze(now.number, now.term, (), ("a",)))]
