"""Facts about trainings and their text, from contracts played by hand."""

from typing import get_args

import msgspec

from support.play import Play, unreachable
from swarmlearning.views import render
from swarmlearning.views.render import LONGEST_LIST, clock, listed, participation_text, report_text, waiting_text
from swarmlearning.views.report import TrainingReport
from swarmlearning.views.training import Activity, Awaited, Reason, Waiting, activity, participation, waiting


def round_with_a_model_of_a() -> Play:
    play = Play("a", "b", "c", min_peers=3)
    play.submit("a")
    return play


def test_the_view_of_an_empty_contract_waits_for_a_session() -> None:
    assert waiting(Play().state).phase == "empty"


def test_the_facts_before_round_0_count_open_sessions_and_name_absent_members() -> None:
    play = Play("a", "b", min_peers=4)
    play.set_attendance("b", "lost")
    facts = waiting(play.state)
    assert (facts.phase, facts.have, facts.need, facts.round) == ("opening", 1, 4, None)
    assert facts.awaited == (Awaited("b", "lost", play.member("b").since_ms),)


def test_the_facts_of_a_collecting_round_name_every_member_without_a_model() -> None:
    play = round_with_a_model_of_a()
    play.set_attendance("c", "ml-lost")
    facts = waiting(play.state)
    assert (facts.phase, facts.round, facts.have, facts.need) == ("collecting", 0, 1, 3)
    assert facts.since_ms == play.round.opened_ms
    assert facts.awaited == (Awaited("b", "expected"), Awaited("c", "ml-lost", play.member("c").since_ms))


def test_a_member_that_misses_the_result_or_the_base_of_the_round_is_named_with_that_reason() -> None:
    play = Play("a", "b", "c")
    play.complete_round("a", "b", "c")
    play.submit("a", "b", "c")
    play.publish()
    play.missing("b")
    assert Awaited("b", "no-base") in waiting(play.state).awaited
    play.missing("a", "c")
    play.void()
    play.missing("b", number=0)
    assert waiting(play.state).awaited == (Awaited("a", "expected"), Awaited("b", "no-base"), Awaited("c", "expected"))


def test_a_frozen_round_is_merging_and_an_ended_training_is_over() -> None:
    play = Play("a", "b")
    play.submit("a", "b")
    assert (waiting(play.state).phase, waiting(play.state).leader) == ("merging", play.leader)
    over = msgspec.structs.replace(play.state, round=None, over=True)
    assert waiting(over).phase == "over"


def test_a_round_that_nobody_may_lead_is_leaderless() -> None:
    play = Play(min_peers=1)
    play.open("a", may_lead=False)
    assert waiting(play.state).phase == "leaderless"


def test_the_facts_of_a_training_survive_json() -> None:
    facts = waiting(round_with_a_model_of_a().state)
    assert msgspec.json.decode(msgspec.json.encode(facts), type=Waiting) == facts


def test_an_activity_is_what_the_member_does_now() -> None:
    play = round_with_a_model_of_a()
    play.set_attendance("c", "lost")
    assert [activity(play.state, play.member(uid)) for uid in "abc"] == ["submitted", "training", "lost"]


def test_every_activity_and_every_reason_has_a_text() -> None:
    assert set(render.ACTIVITIES) == set(get_args(Activity))
    assert set(render.REASONS) == set(get_args(Reason)) - {"expected"}


def test_a_text_has_names_in_place_of_uids() -> None:
    play = round_with_a_model_of_a()
    text = waiting_text(waiting(play.state), {"b": "SL-2", "c": "SL-3"})
    assert text.endswith("1 models in, minPeers 3; waiting for SL-2, SL-3")


def test_the_last_round_of_a_stopped_training_is_shown_as_such() -> None:
    play = round_with_a_model_of_a()
    play.stop()
    assert waiting_text(waiting(play.state), {}).startswith(
        "round 0 (the last one: an operator has stopped the training), open since "
    )


def test_a_training_without_a_round_is_reported_in_words_not_in_zeros() -> None:
    assert report_text(TrainingReport("", False, [], "", {})) == "not over: no round was merged"


def test_names_that_contain_other_uids_are_not_substituted_again() -> None:
    members = "aeio"
    play = Play(*members, min_peers=4)
    names = {uid: 160 * members[(index + 1) % 4] for index, uid in enumerate(members)}
    text = waiting_text(waiting(play.state), names)
    assert len(text) < 4 * 170 + 100
    assert text.count(160 * "e") == 1


def test_a_long_list_names_the_first_and_counts_the_others() -> None:
    names = [f"SL-{number}" for number in range(LONGEST_LIST + 5)]
    assert listed(names).endswith(f"SL-{LONGEST_LIST - 1} and 5 more")
    assert listed(names[:2]) == "SL-0, SL-1"


def test_a_participation_counts_each_member_and_names_those_not_in_all_rounds() -> None:
    play = Play("a", "b", "c")
    play.submit("a", "b")
    play.freeze()
    play.submit("c")
    play.publish()
    facts = participation(play.state)
    assert not facts.complete
    assert [(one.uid, one.contributed, one.late) for one in facts.members] == [("a", 1, 0), ("b", 1, 0), ("c", 0, 1)]
    assert participation_text(facts, {"c": "SL-3"}) == (
        "partial: 1 round with 3 members: SL-3 in 0 (late for 1), all others in all"
    )


def test_a_clock_shows_seconds_in_utc() -> None:
    assert clock(0) == "1970-01-01 00:00:00Z"
    assert clock(1_795_861_229_999) == "2026-11-28 10:20:29Z"


def test_sessions_with_hostile_contract_names_are_shown_on_one_line() -> None:
    play = Play(min_peers=2)
    play.state = msgspec.structs.replace(play.state, name="a\u202eb")
    play.open("x", min_peers=2)
    assert "\\u202e" in waiting_text(waiting(play.state), {})


def test_a_member_that_others_cannot_fetch_from_is_named_with_its_address() -> None:
    play = Play("a", "b")
    play.submit("a", "b")
    play.publish(without={"b": "unreachable"})
    text = waiting_text(waiting(play.state), {"b": "site-2"}, {"b": "10.99.0.1:39999"})
    assert text.endswith("waiting for site-2 (others cannot fetch models from it, at 10.99.0.1:39999)")


def test_a_member_that_an_earlier_leader_could_not_fetch_from_is_named_while_the_present_one_is_merging() -> None:
    """A walled site that leads has its own model, and merges, but nobody will get the result (seed 60007588)."""
    play = unreachable()
    assert play.leader == "b"
    play.freeze(reached=("b",))
    names, addresses = {"a": "site-1", "b": "site-2"}, {"b": "10.99.0.1:39999"}
    assert waiting_text(waiting(play.state), names, addresses) == (
        "round 0: site-2 is merging 2 models; earlier leaders could not fetch models from site-2, at 10.99.0.1:39999"
    )
    play.depose("b")
    assert play.text == "round 0: a is merging 2 models; earlier leaders could not fetch models from b"
    play.publish(without={"b": "unreachable"})
    assert play.text.endswith("waiting for b (others cannot fetch models from it)")
    play.readdress("b")
    assert "fetch" not in play.text


def test_members_that_cannot_fetch_the_latest_model_are_not_blamed_but_its_holder_is_named_with_its_address() -> None:
    play = Play("a", "b", "c")
    play.submit("a", "b", "c")
    holder = play.leader
    play.publish()
    first, second = sorted({"a", "b", "c"} - {holder})
    play.missing(first, second)
    text = waiting_text(waiting(play.state), {holder: "site-1"}, {holder: "10.99.0.1:39999"})
    assert f"{first} (cannot fetch the latest model from site-1, at 10.99.0.1:39999)" in text
    assert f"{second} (cannot fetch the latest model from site-1, at 10.99.0.1:39999)" in text
    play.set_attendance(holder, "lost")
    assert f"{first} (nobody can give it the latest model)" in waiting_text(waiting(play.state), {})


def test_members_without_the_base_of_a_round_are_named_with_that_reason() -> None:
    play = Play("a", "b", "c")
    play.complete_round("a", "b", "c")
    play.complete_round("a", "b", "c")
    play.missing("a", "b", "c")
    play.void()
    play.missing("a", number=play.round.number - 1)
    text = waiting_text(waiting(play.state), {})
    assert text.endswith("waiting for a (nobody can give it the latest model), b, c")


def test_a_leader_whose_last_result_others_could_not_fetch_is_named_with_its_address_while_it_merges() -> None:
    play = Play("a", "b")
    play.submit("a", "b")
    leader = play.leader
    unreachable = msgspec.structs.replace(play.member(leader), unreachable=True)
    play.state = msgspec.structs.replace(play.state, members={**play.state.members, leader: unreachable})
    text = waiting_text(waiting(play.state), {}, {leader: "10.0.0.9:30305"})
    assert text == f"round 0: {leader} (others cannot fetch models from it, at 10.0.0.9:30305) is merging 2 models"


def test_a_time_that_no_calendar_has_is_shown_as_a_number() -> None:
    """Whoever seals a block chooses its time."""
    assert clock(253_402_300_799_999) == "9999-12-31 23:59:59Z"
    for odd in (253_402_300_800_000, 2**53, 10**30, -1, -(2**53)):
        assert clock(odd) == f"{odd} ms"
