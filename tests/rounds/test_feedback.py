"""Which change's residual is added to the next one, whatever becomes of rounds and results."""

import msgspec
import pytest

from support.play import Play, merged
from support.roundnode import LOADED, SESSION, SETTINGS, Node
from swarmlearning.choices import Transfer
from swarmlearning.ledger.bodies import Submit
from swarmlearning.ledger.contracts.training.bodies import ExclusionReason
from swarmlearning.ledger.contracts.training.state import Charter
from swarmlearning.rounds.events import Fetched, Release, Released, Send, SessionRequested
from swarmlearning.rounds.feedback import REMEMBERED, Feedback
from swarmlearning.rounds.machine import RoundMachine

CODED = Charter("org-1", transfer="int4")


def change(number: int, base: str, residual: str = "") -> Released:
    """What `b` gives to a round."""
    task = Release(1, number, base, "aa" * 32, "int4", residual)
    return Released(task, f"{number:02}" * 32, 100, None)


class Site:
    """Site `b` beside `a` and `c`, which gives a change to each round but the first."""

    def __init__(self) -> None:
        self.play = Play("a", "b", "c", charter=CODED)
        self.feedback = Feedback("b", self.play.state)
        self.play.complete_round("a", "b", "c")
        self.follow()

    def follow(self) -> str:
        """The residual that counts in the round in progress."""
        self.feedback.follow(self.play.state)
        return self.feedback.residual_at(self.play.round.base)

    def complete(self, *, without: bool = False, result: str = "") -> str:
        """Gives a change, and completes the round, with it or without; returns the digest of the change."""
        now = self.play.round
        done = change(now.number, now.base, self.feedback.residual_at(now.base))
        self.feedback.given(done)
        self.play.submit("a", "c")
        self.play.submit("b", digest=done.result)
        left_out: dict[str, ExclusionReason] = {"b": "too-slow"} if without else {}
        self.play.publish(without=left_out, result=result or merged(now.number))
        self.play.report("a", "b", "c")
        return done.result


def test_the_rest_of_a_change_counts_once_a_result_names_it() -> None:
    site = Site()
    assert site.follow() == ""
    first = site.complete()
    assert site.follow() == first
    second = site.complete()
    assert site.follow() == second


def test_the_rest_before_goes_on_counting_while_a_change_is_not_merged() -> None:
    site = Site()
    first = site.complete()
    assert site.follow() == first
    site.complete(without=True)
    assert site.follow() == first
    fourth = site.complete()
    assert site.follow() == fourth


def test_after_a_void_result_the_rest_counts_that_did_at_its_base() -> None:
    site = Site()
    first = site.complete()
    assert site.follow() == first
    second = site.complete()
    assert site.follow() == second
    site.play.missing("a", "b", "c")
    site.play.void()
    assert site.play.round.number == 2
    assert site.follow() == first
    assert site.complete(result="77" * 32) == second  # the same change, for another result
    assert site.follow() == second


def test_a_void_result_that_comes_back_without_the_change_leaves_the_rest_before() -> None:
    site = Site()
    first = site.complete()
    site.follow()
    site.complete()
    site.follow()
    site.play.missing("a", "b", "c")
    site.play.void()
    site.complete(result="77" * 32, without=True)
    assert site.follow() == first


def test_a_restarted_site_knows_the_rest_of_the_change_that_was_merged_meanwhile() -> None:
    site = Site()
    site.complete()
    site.follow()
    now = site.play.round
    given = change(now.number, now.base, site.feedback.residual_at(now.base))
    site.complete()
    again = Feedback("b", site.play.state, [given])
    again.follow(site.play.state)
    assert again.residual_at(site.play.round.base) == given.result


def test_a_restarted_site_goes_on_with_the_rest_that_its_change_was_made_with() -> None:
    site = Site()
    first = site.complete()
    site.follow()
    given = change(site.play.round.number, site.play.round.base, first)
    again = Feedback("b", site.play.state, [given])
    again.follow(site.play.state)
    assert again.residual_at(site.play.round.base) == first


def test_no_rest_counts_where_results_have_come_and_gone_unseen() -> None:
    site = Site()
    given = change(site.play.round.number, site.play.round.base)
    site.complete()
    site.complete(without=True)
    again = Feedback("b", site.play.state, [given])
    again.follow(site.play.state)
    assert again.residual_at(site.play.round.base) == ""


def test_no_rest_of_one_run_counts_in_the_next() -> None:
    site = Site()
    site.complete()
    site.follow()
    site.play.reset(forced=True)
    for uid in "abc":
        site.play.open(uid)
    site.play.complete_round("a", "b", "c")
    assert site.follow() == ""
    old = Feedback("b", site.play.state, [change(1, site.play.round.base, "ee" * 32)])
    assert old.residual_at(site.play.round.base) == ""


def test_a_result_that_is_the_base_changes_nothing() -> None:
    site = Site()
    first = site.complete()
    assert site.follow() == first
    base = site.play.round.base
    for uid in "abc":
        site.play.submit(uid, digest=base)
    site.play.publish(result=base)
    assert site.follow() == first


def test_only_the_newest_results_are_remembered() -> None:
    site = Site()
    for _ in range(2 * REMEMBERED):
        last = site.complete()
        assert site.follow() == last
    assert site.feedback.residual_at(merged(1)) == ""


@pytest.mark.parametrize("coded", ["float32", "int4"])
def test_a_machine_gives_a_coded_change_where_the_contract_says_so(coded: Transfer) -> None:
    charter = msgspec.structs.replace(CODED, transfer=coded)
    node = Node(Play(min_peers=2, charter=charter), "b")
    node.machine = RoundMachine("b", 1, node.play.state, SETTINGS, ())
    node.handle(SessionRequested(SESSION))
    for member in "ab":
        node.play.open(member)
    node.accept(SESSION)
    node.advance()
    (sent,) = node.hand_over()  # round 0 has no base, and so nothing to change
    assert isinstance(sent, Send)
    assert isinstance(sent.body, Submit)
    whole = sent.body.digest
    node.accept(sent.body)
    node.play.submit("a", "b")
    node.play.publish()
    node.advance()
    node.handle(Fetched(merged(0)))
    for action in node.handle(LOADED):
        if isinstance(action, Send):
            node.accept(action.body)
    node.play.report("a", "b")
    node.advance()
    actions = node.hand_over(1)
    if coded == "float32":
        (sent,) = (action for action in actions if isinstance(action, Send))
        assert isinstance(sent.body, Submit)
        assert sent.body.digest != whole
        return
    (task,) = (action for action in actions if isinstance(action, Release))
    assert (task.transfer, task.residual, task.base) == ("int4", "", merged(0))
    done = Released(task, "91" * 32, 5, None)
    assert node.handle(done) == [Send(Submit(1, merged(0), "trained", "91" * 32, 5, 1))]
