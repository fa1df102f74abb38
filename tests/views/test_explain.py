"""Why a training is not further: contracts played by hand, and what nodes state of themselves."""

from typing import Any, get_args

import msgspec
import pytest

from support.network import CONTRACT, Ledger, session
from support.play import Play, unreachable
from swarmlearning.errors import UserError
from swarmlearning.ledger.chain import Chain
from swarmlearning.ledger.contracts.training.outer import OuterOptimizer, Step, TakenStep
from swarmlearning.ledger.contracts.training.state import Charter
from swarmlearning.operator.explaining import training_of
from swarmlearning.views.evidence import Account, Beat, Evidence
from swarmlearning.views.explain import explain_now
from swarmlearning.views.explaintext import (
    DOING,
    WORK,
    coded_text,
    headline,
    notes,
    remedy,
    share_text,
    site_text,
    span_text,
    way_notes,
)
from swarmlearning.views.explanation import Cause, Doing, Explanation, SiteNow
from swarmlearning.views.names import node_names
from swarmlearning.views.render import clock, waiting_text
from swarmlearning.views.timeline import Moments
from swarmlearning.views.times import PHASES, Coded, Script, Span, What
from swarmlearning.views.training import TrainingProgress, waiting_in
from views.explaining import MINUTE, SECRET, asked, closed, record, stated, three


def test_a_site_that_trains_is_named_with_its_speed_and_what_is_left() -> None:
    play = three()
    account = stated(play, Span("train", 2000), now=250_000, script=Script(900, 300, left=1116, batches_per_second=3.1))
    found = asked(play, 250_000, {"a": account})
    assert headline(found) == (
        "Round 1 has waited 4 min 10 s for a: its ML process trains at 3.1 batches/s, about 6 min to go"
    )
    assert (found.cause, found.site, remedy(found)) == ("training", "a", "")
    assert [(each.what, each.seconds) for each in found.shares] == [("train", 248.0), ("wait", 2.0)]


def test_a_script_that_trains_no_batch_is_named_before_sites_that_are_slower() -> None:
    play = Play("a", "b", "c", min_peers=3)
    play.complete_round("a", "b", "c")
    play.submit("c")
    hangs = stated(play, Span("train", 0), now=140_000, script=Script(900, 125_000, left=40, batches_per_second=3.1))
    slow = stated(play, Span("train", 0), now=140_000, script=Script(9, 300, left=4000, batches_per_second=0.1))
    found = asked(play, 140_000, {"a": hangs, "b": slow})
    assert headline(found) == (
        "Round 1 has waited 2 min 20 s for a: its ML process has trained no batch for 2 min 5 s (before that 3.1 a "
        "second), with 40 to go"
    )
    assert "the script at a" in remedy(found)


def test_an_sl_to_which_no_script_has_connected_is_named_while_sessions_are_missing() -> None:
    ledger = Ledger()
    for site in ("site-1", "site-10", "site-2"):
        ledger.join(site)
    ledger.send("site-1", session(min_peers=2))
    world, state = ledger.chain.world, ledger.training
    found = explain_now(Evidence(world, state, None, ledger.clock))
    assert headline(found) == (
        f"Training {CONTRACT} waits for 1 more site: 1 of minPeers 2 have a session; no script has connected to "
        "site-2, site-10"
    )
    assert (found.cause, found.idle) == ("sessions", ("site-2", "site-10"))
    assert remedy(found).startswith("see the output of the script at site-2, site-10: ")
    text = waiting_text(waiting_in(world, state), node_names(world))
    assert text.endswith("round 0 waits for 1 more; no script has connected to site-2, site-10")
    ledger.send("site-2", session(min_peers=2))
    assert explain_now(Evidence(ledger.chain.world, ledger.training, None, ledger.clock)).idle == ()


def test_where_no_site_has_a_session_the_sls_that_wait_for_their_scripts_are_named() -> None:
    ledger = Ledger()
    ledger.join("site-1")
    with pytest.raises(UserError, match=r"start SLs with their scripts; no script has connected to site-1$"):
        training_of(ledger.chain, "")


def test_a_batch_that_takes_long_is_no_hang() -> None:
    play = three()
    account = stated(play, Span("train", 0), now=90_000, script=Script(3, 70_000, left=1, batches_per_second=0.02))
    assert asked(play, 90_000, {"a": account}).cause == "training"


@pytest.mark.parametrize(
    ("span", "cause", "text"),
    [
        (Span("load", 5000), "hand-over", "it loads and evaluates the merged model for 55 s"),
        (Span("take-over", 50_000), "hand-over", "it takes its script's model over for 10 s"),
        (Span("submit", 48_000), "submitting", "a transaction of its SL has waited 12 s for a block of the ledger"),
        (
            Span("fetch", 20_000, uid="c", bytes=200_000_000),
            "transfer",
            "it fetches a model from c: 200 MB of 690 MB in 40 s (5.0 MB/s), about 1 min 38 s to go",
        ),
    ],
)
def test_what_a_site_does_instead_of_training_is_said(span: Span, cause: Cause, text: str) -> None:
    play = three()
    result = msgspec.structs.replace(play.result, size=690_000_000)
    play.state = msgspec.structs.replace(play.state, result=result)
    found = asked(play, MINUTE, {"a": stated(play, span, now=MINUTE)})
    assert (headline(found), found.cause) == (f"Round 1 has waited 1 min for a: {text}", cause)


def test_without_a_diary_the_heartbeats_and_the_ledger_are_what_is_left() -> None:
    play = three()
    beat = Beat(900, TrainingProgress(1, 3, 3.1, None, None))
    found = asked(play, MINUTE, {"a": Account(None, SECRET)}, beats={"a": beat})
    assert headline(found) == "Round 1 has waited 1 min for a: its ML process trains at 3.1 batches/s"
    assert notes(found) == [
        f"From the ledger alone for a: {SECRET}",
        "From the ledger alone for b, c: it was not asked, since it has come later than the others. What to do: ask "
        "again",
    ]
    found = asked(play, MINUTE, {"a": Account(None, SECRET)})
    assert headline(found) == f"Round 1 has waited 1 min for a: it is there, and its model is not in ({SECRET})"


@pytest.mark.parametrize(
    ("attendance", "text", "advice"),
    [
        ("lost", "which has been lost since {since}: no SN hears its SL", "start it again"),
        ("ml-lost", "whose SL has been without its script since {since}", "start the script at a again"),
        (
            "restarted",
            "whose SL was started again at {since}: its script has not come back",
            "start the script at a again",
        ),
        ("left", "which left at {since}", "start another site, or this one again"),
        ("other-terms", "which has other terms than the others", "the log of a names the difference"),
    ],
)
def test_a_site_that_is_away_is_named_with_since_when_and_what_to_do(attendance: Any, text: str, advice: str) -> None:
    play = three()
    play.set_attendance("a", attendance)
    found = asked(play, MINUTE)
    text = text.format(since=clock(play.member("a").since_ms))
    assert headline(found).startswith(f"Round 1 has waited 1 min for a, {text}; 2 models are in, minPeers 3")
    assert advice in remedy(found)


def test_a_leader_that_is_lost_is_named_with_who_has_taken_over() -> None:
    play = three()
    before, opened = play.leader, play.round.opened_ms
    play.set_attendance(before, "lost")
    after = play.leader
    assert after != before
    moments = Moments(opened, {}, [(opened, before), (opened + 5000, after)])
    found = explain_now(Evidence(Chain().world, play.state, moments, opened + MINUTE))
    assert headline(found).endswith(
        f"; {before} led it until {clock(opened + 5000)} and is lost now, {after} has taken over"
    )


def test_a_leader_at_work_is_named_with_what_it_does() -> None:
    play = Play("a", "b")
    play.submit("a", "b")
    leader, other = play.leader, "b" if play.leader == "a" else "a"
    merging = stated(play, Span("fetch", 0, 900, other, 5), Span("merge", 1000), now=13_000)
    assert headline(asked(play, 13_000, {leader: merging})) == (
        f"Round 0 has taken 13 s: its leader {leader} merges 2 models for 12 s"
    )
    fetching = stated(play, Span("fetch", 1000, uid=other, bytes=40_000_000), now=5000)
    assert headline(asked(play, 5000, {leader: fetching})).startswith(
        f"Round 0 has taken 5.0 s: its leader {leader} fetches a model from {other}: 40 MB"
    )


def test_a_file_server_that_nobody_reaches_is_named_with_its_address() -> None:
    """By the leader's own account at once, by the ledger once a leader has tried in vain."""
    play = Play("a", "b")
    play.submit("a", "b")
    leader, other = play.leader, "b" if play.leader == "a" else "a"
    failing = stated(play, Span("fetch", 0, 5000, other, fault="unreachable"), now=MINUTE)
    found = asked(play, MINUTE, {leader: failing}, addresses={other: "10.0.0.9:30305"})
    assert headline(found) == (
        f"Round 0 has waited 1 min: others cannot fetch the model of {other} from its file server, at 10.0.0.9:30305"
    )
    assert "10.0.0.9:30305" in remedy(found)
    assert asked(unreachable(), MINUTE).cause in ("unreachable", "merging", "training", "unknown")


def test_a_training_that_lacks_sites_organisations_or_a_majority_says_so() -> None:
    play = Play("a", "b", min_peers=4)
    play.set_attendance("b", "lost")
    found = asked(play, 0)
    since = clock(play.member("b").since_ms)
    assert headline(found) == (
        f"Training contract waits for 3 more sites: 1 of minPeers 4 have a session; b (lost since {since})"
    )
    found = asked(three(), MINUTE, majority=False, alarms=("no majority of voters answers",))
    assert headline(found).startswith("Round 1 waits for the ledger: no majority of the SNs")
    assert notes(found)[0] == "ALARM no majority of voters answers"
    assert "swarm sn recover" in remedy(found)


def test_the_end_and_the_beginning_have_their_words() -> None:
    assert asked(Play(), 0).cause == "empty"
    play = Play("a", "b")
    play.complete_round("a", "b")
    over = msgspec.structs.replace(play.state, round=None, over=True)
    found = explain_now(Evidence(Chain().world, over, None, 0, waiting_text="complete: 1/1 rounds with 2/2"))
    assert headline(found) == "Training contract is over: complete: 1/1 rounds with 2/2"


# --- closed rounds --------------------------------------------------------------------------------------------------


def test_the_time_of_a_closed_round_is_shared_out_without_remainder() -> None:
    site = record(
        Span("load", 200, 700), Span("train", 700, 7600), Span("take-over", 7600, 7700), Span("submit", 7700, 8000)
    )
    leader = record(
        Span("train", 0, 4000),
        Span("fetch", 3100, 3900, "b", 690_000_000),
        Span("fetch", 8000, 39_000, "c", 690_000_000),
        Span("merge", 39_000, 41_500, bytes=2_070_000_000),
        Span("publish", 41_500, 41_900),
    )
    found = closed({"a": leader, "b": Account(None, "gone"), "c": site})
    assert (
        headline(found)
        == "Round 11 took 42 s: 31 s of them the transfer of 690 MB from c to a at 22 MB/s, 6.9 s training at c"
    )
    assert sum(each.seconds for each in found.shares) == pytest.approx(42.0)
    assert {each.what: each.seconds for each in found.shares if each.site == "a"} == {
        "fetch": 31.0, "merge": 2.5, "publish": 0.4, "wait": 0.1,
    }  # fmt: skip


def test_what_the_ledger_shows_is_shared_out_where_nodes_state_nothing() -> None:
    found = closed({uid: Account(None, SECRET) for uid in "abc"}, leaders=((0, "b"), (20_000, "a")))
    assert [(each.what, each.site, each.seconds) for each in found.shares] == [
        ("unknown", "a", 22.0),
        ("replace", "b", 12.0),
        ("unknown", "c", 8.0),
    ]
    assert "22 s of them a, which does not state what it did, 12 s replacing b" in headline(found)


def test_a_record_of_another_run_round_or_contract_counts_for_nothing() -> None:
    for changes in ({"run": 2}, {"round": 10}, {"contract": "other"}):
        times = record(Span("train", 0, 8000)).times
        assert times is not None
        other = msgspec.structs.replace(times, rounds=(msgspec.structs.replace(times.rounds[0], **changes),))
        found = closed({"c": Account(other)})
        assert ("unknown", "c") in [(each.what, each.site) for each in found.shares]


def test_absurd_statements_of_a_site_stay_its_own_and_within_its_time() -> None:
    absurd = [Span("train", -(2**52), 2**52), Span("fetch", 2**52, -(2**52), "z" * 256, 2**52), Span("merge", 5, 5)]
    found = closed({"c": record(*absurd), "a": record(*absurd)})
    assert sum(each.seconds for each in found.shares) == pytest.approx(42.0)
    assert {each.site for each in found.shares} == {"a", "c"}
    assert all(len(share_text(each)) < 400 for each in found.shares)


# --- words ----------------------------------------------------------------------------------------------------------


def test_every_kind_of_work_and_every_cause_has_its_words() -> None:
    own = {"fetch", "wait"}
    assert set(get_args(Doing)) == set(WORK) | own
    assert set(get_args(What)) == set(PHASES) <= set(DOING)
    for cause in get_args(Cause):
        found = Explanation("contract", 1, 3, cause, 61.0, 0, "a", "b")
        assert "None" not in headline(found)
        assert len(headline(found)) > 20
        assert "{" not in remedy(found)


def test_durations_are_what_people_say() -> None:
    said = [span_text(seconds) for seconds in (0.04, 9.94, 31.4, 60, 250, 3600, 7500, 100_000)]
    assert said == ["0.0 s", "9.9 s", "31 s", "1 min", "4 min 10 s", "1 h", "2 h 5 min", "1 d 3 h"]


def test_each_site_has_a_line() -> None:
    found = asked(three(), MINUTE)
    assert [each.site for each in found.sites] == ["a", "b", "c"]
    assert site_text(found.sites[1]).startswith("model in after ")
    assert site_text(found.sites[0]) == "training"


def test_the_change_that_a_site_gave_is_said_with_what_was_left_out() -> None:
    change = Coded("int8", 1_200_000, 4_700_000, 0.31, 0.002)
    site = SiteNow("site-1", "in", after_seconds=2.0, coded=change)
    text = "gave 1.2 MB as int8 in place of 4.7 MB; change of length 0.31, 0.002 left out of it and of those before"
    assert site_text(site) == f"model in after 2.0 s; {text}"
    assert coded_text(msgspec.structs.replace(change, dropped=True)).endswith("is dropped")
    assert coded_text(msgspec.structs.replace(change, change=None)).endswith("; its change is not finite")


def test_what_is_agreed_and_a_step_that_was_not_finite_are_said() -> None:
    play = three()
    nesterov = OuterOptimizer("nesterov", "0.7", "0.9")
    charter = Charter("org-1", transfer="int8")
    assert play.state.terms is not None
    terms = msgspec.structs.replace(play.state.terms, outer=nesterov)
    play.state = msgspec.structs.replace(play.state, terms=terms, charter=charter)
    assert play.state.result is not None
    taken = TakenStep(play.result.digest, Step(play.result.digest, fault="'w' is infinite at 3"))
    play.state = msgspec.structs.replace(play.state, taken=(taken,))
    notes = way_notes(asked(play, 1))
    assert notes[0] == "Values travel as int8, back as float32; outer optimizer nesterov (0.7, 0.9)"
    assert "The outer step of round 0 was not finite ('w' is infinite at 3): its merge stands" in notes[1]
