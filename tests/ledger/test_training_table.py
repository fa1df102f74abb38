"""The training contract, transaction by transaction: every reason for which each is refused."""

from collections.abc import Callable

import msgspec
import pytest

from support.play import Play, full, model, over, receipt_of, standing, three, two, unreachable
from swarmlearning.ledger.bodies import Contribution, Receipt
from swarmlearning.ledger.contracts.rejection import Rejection
from swarmlearning.ledger.contracts.training.transactions import MOST_REPORTS

Act = Callable[[Play], object]


def closed(play: Play) -> Play:
    """The same, after `b` has closed its session."""
    play.close("b", "inactive")
    return play


def barred() -> Play:
    """A round that collects again because two leaders have found that the model of `b` cannot be used."""
    play = full()
    for _ in range(2):
        play.publish(without={"b": "non-finite"})
        if play.leader == "b":
            play.submit("b")
    return play


def moving() -> Play:
    """A frozen round whose leader has reported that 9 bytes have moved."""
    play = full()
    play.progress("a", moved=9)
    return play


def reporting() -> Play:
    """A frozen round whose leader has reported progress as often as it may in one term."""
    play = full()
    for _ in range(MOST_REPORTS):
        play.progress("a")
    return play


def late() -> Play:
    """A frozen round, and the model of `c`, which arrived too late for it."""
    play = three()
    play.freeze()
    play.submit("c")
    return play


def altered(play: Play, **changes: object) -> Receipt:
    """The receipt of an honest leader, with other values in its first contribution."""
    right = receipt_of(play.round, {})
    first, *others = right.contributions
    return msgspec.structs.replace(right, contributions=(msgspec.structs.replace(first, **changes), *others))


def twice(play: Play) -> Receipt:
    """A receipt that names `b` as contributor and as left out."""
    right = receipt_of(play.round, {})
    return msgspec.structs.replace(right, exclusions=receipt_of(play.round, {"b": "structure"}).exclusions)


REFUSED: list[tuple[str, Play, Act, str, str]] = [
    # OpenSession
    (
        "a session with another merge method",
        two(),
        lambda p: p.open("c", merge_method="geomedian"),
        "other-terms",
        "mergeMethod is mean",
    ),
    ("a session with another minPeers", two(), lambda p: p.open("c", min_peers=3), "other-terms", "minPeers is 2"),
    (
        "a session with another model structure",
        two(),
        lambda p: p.open("c", structure="6" * 64),
        "other-terms",
        "model structure is 555",
    ),
    ("a session when training is over", over(), lambda p: p.open("c"), "training-over", "swarm contract reset"),
    # Submit
    ("a model of a stranger", two(), lambda p: p.submit("x"), "not-a-member", "open one first"),
    ("a model before round 0", Play("a"), lambda p: p.submit("a"), "no-round", "1 of 2 sessions are open"),
    (
        "a model for an older round",
        standing(),
        lambda p: p.submit("a", round=0),
        "other-round",
        "round 1 is in progress",
    ),
    ("a model for a later round", two(), lambda p: p.submit("a", round=1), "other-round", "round 0 is in progress"),
    ("a model when training is over", over(), lambda p: p.submit("a"), "training-over", "is over"),
    (
        "a model on another base",
        standing(),
        lambda p: p.submit("a", base="0" * 64),
        "stale-base",
        "latest merged model first",
    ),
    ("a model without a base", standing(), lambda p: p.submit("a", base=""), "stale-base", "nothing (round 0)"),
    ("a trained model after closing", closed(two()), lambda p: p.submit("b"), "finished", "check-in mode only"),
    ("a snapshot before closing", two(), lambda p: p.submit("a", kind="snapshot"), "not-closed", "a has not"),
    (
        "a model of another check-in mode",
        closed(two()),
        lambda p: p.submit("b", kind="active"),
        "not-closed",
        "in that mode",
    ),
    ("a model of more weight", two(), lambda p: p.submit("a", weight=2), "wrong-weight", "is 1, not 2"),
    ("a model of no weight", two(), lambda p: p.submit("a", weight=0), "wrong-weight", "is 1, not 0"),
    ("a second model", three(), lambda p: p.submit("a"), "submitted-already", "a has submitted to round 0"),
    ("a second late model", late(), lambda p: p.submit("c"), "submitted-already", "c has submitted to round 0"),
    ("a model of a barred member", barred(), lambda p: p.submit("b"), "excluded", "found unusable in round 0"),
    (
        "a model that nobody could fetch, again",
        unreachable(),
        lambda p: p.submit("b"),
        "submitted-already",
        "b has submitted",
    ),
    # Freeze
    ("frozen by another", three(), lambda p: p.freeze("b"), "not-leader", "led by a, not b"),
    ("frozen in another term", three(), lambda p: p.freeze(term=1), "stale-term", "is in term 0, not 1"),
    ("another round frozen", three(), lambda p: p.freeze(round=1), "other-round", "round 0 is in progress, not 1"),
    ("frozen twice", full(), lambda p: p.freeze(), "frozen-already", "fixed already"),
    ("frozen with too few models", two(), lambda p: p.freeze(), "below-min-peers", "has 0 of 2 models"),
    (
        "frozen with too few that can be fetched",
        unreachable(),
        lambda p: p.freeze(),
        "below-min-peers",
        "has 1 of 2 models",
    ),
    # Progress
    (
        "progress without a byte moved",
        moving(),
        lambda p: p.progress("a", moved=9),
        "no-progress",
        "9 bytes moved are no progress yet",
    ),
    (
        "one report of progress too many",
        reporting(),
        lambda p: p.progress("a"),
        "no-progress",
        "no more are accepted",
    ),
    # Publish
    ("published by another", full(), lambda p: p.publish("b"), "not-leader", "led by a, not b"),
    ("published in another term", full(), lambda p: p.publish(term=1), "stale-term", "is in term 0"),
    ("another round published", full(), lambda p: p.publish(round=1), "other-round", "round 0 is in progress"),
    ("published while collecting", three(), lambda p: p.publish(), "collecting", "freeze it first"),
    (
        "merged by another method",
        full(),
        lambda p: p.publish(receipt=Receipt("geomedian", (), ())),
        "wrong-method",
        "mean",
    ),
    (
        "a contributor is missing",
        full(),
        lambda p: p.publish(receipt=Receipt("mean", receipt_of(p.round, {}).contributions[:1], ())),
        "wrong-contributors",
        "exactly once",
    ),
    (
        "a contributor is named twice",
        full(),
        lambda p: p.publish(receipt=twice(p)),
        "wrong-contributors",
        "exactly once",
    ),
    (
        "a stranger contributes",
        full(),
        lambda p: p.publish(
            receipt=Receipt("mean", (*receipt_of(p.round, {}).contributions, Contribution("x", "0" * 64, 1, 1)), ())
        ),
        "wrong-contributors",
        "exactly once",
    ),
    (
        "a receipt with another model",
        full(),
        lambda p: p.publish(receipt=altered(p, digest="0" * 64)),
        "wrong-contribution",
        f"a submitted {model('a', 0)[:12]}",
    ),
    (
        "a receipt with another weight",
        full(),
        lambda p: p.publish(receipt=altered(p, weight=7)),
        "wrong-contribution",
        "weight 1",
    ),
    (
        "a coefficient that is not the weight",
        full(),
        lambda p: p.publish(receipt=altered(p, coefficient=0)),
        "wrong-contribution",
        "are the contributors' weights",
    ),
    ("published without a result", full(), lambda p: p.publish(result=""), "no-result", "has a result"),
    (
        "a result of too few",
        full(),
        lambda p: p.publish(without={"b": "unreachable"}, result="0" * 64),
        "below-min-peers",
        "1 usable models are fewer than minPeers 2",
    ),
    # ReportPerformance, Missing
    ("a stranger reports", standing(), lambda p: p.report("x"), "not-a-member", "open one first"),
    ("a report of another round", standing(), lambda p: p.report("a", number=1), "other-round", "is of round 0"),
    ("a report when no round is closed", two(), lambda p: p.report("a", number=0), "other-round", "of round none"),
    ("a stranger misses", standing(), lambda p: p.missing("x"), "not-a-member", "open one first"),
    (
        "missing the result of another round",
        standing(),
        lambda p: p.missing("b", number=1),
        "other-round",
        "is of round 0",
    ),
    ("missing reported twice", standing(), lambda p: p.missing("b", "b"), "no-change", "b has reported this already"),
    # Depose
    ("another term's leader", two(), lambda p: p.depose("b", term=1), "stale-term", "is in term 0, not 1"),
    ("another round's leader", two(), lambda p: p.depose("b", round=1), "other-round", "round 0 is in progress"),
    ("a stranger deposes", two(), lambda p: p.depose("x"), "not-a-member", "open one first"),
    (
        "deposed as an older process",
        two(),
        lambda p: p.depose("b", incarnation=2),
        "old-incarnation",
        "now runs as incarnation 1",
    ),
    (
        "a leader that has sent something since",
        two(),
        lambda p: p.depose("b", leader_height=7, seen_height=6),
        "progress",
        "at height 7, after 6",
    ),
    ("a member that judges leases", two(), lambda p: p.depose("b", cause="lease"), "not-allowed", "only an SN"),
    (
        "the same reporter of no progress again",
        Play("a", "b", "c"),
        lambda p: p.depose("b", "b"),
        "no-change",
        "b has reported this already",
    ),
    ("nobody to depose", Play("a"), lambda p: p.depose("a"), "no-round", "1 of 2 sessions"),
    # Void
    ("void, although held", standing(), lambda p: p.void(), "still-held", "a, b"),
    ("void of another round", standing(), lambda p: p.void(number=1), "other-round", "is of round 0"),
    ("void when no round is closed", two(), lambda p: p.void(number=0), "other-round", "of round none"),
    # CloseSession, Stop, Reset
    ("stopped before round 0", Play("a"), lambda p: p.stop(), "no-round", "reset it instead"),
    ("stopped when over", over(), lambda p: p.stop(), "training-over", "is over already"),
    ("a stranger closes", two(), lambda p: p.close("x"), "not-a-member", "open one first"),
    ("closed twice", closed(two()), lambda p: p.close("b"), "closed-already", "closed already"),
    ("reset too early", two(), lambda p: p.reset(), "not-over", "force the reset"),
]


@pytest.mark.parametrize(("play", "act", "code", "text"), [row[1:] for row in REFUSED], ids=[row[0] for row in REFUSED])
def test_a_transaction_that_the_training_does_not_allow_is_refused(play: Play, act: Act, code: str, text: str) -> None:
    with pytest.raises(Rejection) as refusal:
        act(play)
    assert refusal.value.code == code
    assert text in refusal.value.detail


def test_the_refusal_of_a_session_names_all_its_differences_at_once() -> None:
    with pytest.raises(Rejection, match=r"mergeMethod is mean.*geomedian; minPeers is 2.*5\. All sites must agree"):
        two().open("c", merge_method="geomedian", min_peers=5)
