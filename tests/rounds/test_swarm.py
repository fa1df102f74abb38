"""Whole trainings in virtual time, in many orders of events: what round machines do together, and what becomes of one
thing that goes wrong at one moment. Anything at any time is in `tests/simulation`.
"""

from collections import defaultdict
from collections.abc import Iterator
from typing import get_args

import pytest

from simulation.faults import Fault, crash, cut, lose_ml, poison, reset, shield, strike, vanish
from simulation.site import Plan
from simulation.swarm import Swarm
from simulation.unsigned import signatures_unchecked
from support.stories import (
    CANNOT_LEAD,
    FOR_A_WHILE,
    LATE,
    held_by_two,
    left_out,
    published,
    published_by_all,
    reasons,
    results,
    round_open,
    run,
    standing,
    strikes,
    submits,
    swarms,
)
from swarmlearning.choices import CheckinMode


@pytest.fixture(autouse=True)
def unsigned() -> Iterator[None]:
    with signatures_unchecked():
        yield


# --- all is well ----------------------------------------------------------------------------------------------------


def test_all_end_with_the_same_model_and_every_round_has_all_contributors() -> None:
    for count in (1, 2, 3, 5):
        for swarm in swarms(*[Plan(rounds=3)] * count, min_peers=count):
            run(swarm)
            assert [body.round for body in results(swarm)] == [0, 1, 2, 3]
            assert {len(body.receipt.contributions) for body in results(swarm)} == {count}


def test_rounds_wait_for_all_whose_session_is_open_though_fewer_would_do() -> None:
    for swarm in swarms(*[Plan(begins=10.0)] * 4, min_peers=2):
        run(swarm)
        assert [len(body.receipt.contributions) for body in results(swarm)] == [4, 4, 4]


def test_every_model_that_is_handed_over_is_contributed_once() -> None:
    for swarm in swarms(Plan(), Plan(), Plan(), min_peers=3):
        run(swarm)
        trained = [body.digest for _, body in submits(swarm) if body.submission == "trained"]
        assert len(trained) == len(set(trained)) == 2 * 3


@pytest.mark.parametrize("checkin", get_args(CheckinMode))
def test_sites_that_finish_early_go_on_until_all_are_done(checkin: CheckinMode) -> None:
    for swarm in swarms(*(Plan(rounds, checkin=checkin) for rounds in (1, 2, 4)), min_peers=3):
        run(swarm)
        assert {len(body.receipt.contributions) for body in results(swarm)} == {3}
        after_closing = defaultdict(list)
        for uid, body in submits(swarm):
            if body.submission != "trained":
                assert body.submission == checkin
                assert body.weight == (0 if checkin == "inactive" else 1)
                after_closing[uid].append((body.digest, body.base))
        assert [len(after_closing[f"sl-{index}"]) for index in (1, 2, 3)] == [4, 3, 1]
        for models in after_closing.values():
            own = {digest for digest, _ in models}
            assert own == {base for _, base in models} if checkin == "active" else len(own) == 1


def test_when_all_are_inactive_the_last_model_stands() -> None:
    for swarm in swarms(*[Plan(rounds=1, checkin="inactive")] * 3, min_peers=3):
        run(swarm)
        first, last = results(swarm)
        assert (first.round, last.round) == (0, 1)
        assert first.result == last.result


@pytest.mark.parametrize("checkin", get_args(CheckinMode))
def test_sites_that_only_close_end_with_the_final_model(checkin: CheckinMode) -> None:
    for swarm in swarms(*[Plan(rounds=0, checkin=checkin)] * 2, min_peers=2):
        run(swarm)


def test_training_is_over_when_min_peers_have_closed_and_the_others_end_too() -> None:
    for swarm in swarms(Plan(rounds=1), Plan(rounds=1), Plan(rounds=99), min_peers=2):
        run(swarm)
        assert len(results(swarm)) < 10


def test_a_latecomer_loads_the_latest_result_before_it_contributes() -> None:
    for swarm in swarms(Plan(rounds=4), Plan(rounds=4), Plan(rounds=1, joins=LATE), min_peers=2):
        swarm.moments.when(published(0), swarm.sites["sl-3"].start)
        run(swarm)
        assert all(body.base for uid, body in submits(swarm) if uid == "sl-3")
        assert swarm.training.members["sl-3"].contributed > 0


def test_a_latecomer_that_holds_the_latest_result_is_waited_for() -> None:
    for swarm in swarms(Plan(rounds=6), Plan(rounds=6), Plan(joins=LATE, begins=20.0), min_peers=2):
        swarm.moments.when(published(0), swarm.sites["sl-3"].start)
        run(swarm)
        assert swarm.training.members["sl-3"].contributed > 1


def test_a_site_that_comes_after_the_end_fails_with_the_reason() -> None:
    for swarm in swarms(Plan(), Plan(), Plan(joins=LATE), min_peers=2):
        swarm.moments.when(lambda state: state.over, swarm.sites["sl-3"].start)
        run(swarm)
        [(uid, text)] = swarm.witness.failures
        assert uid == "sl-3"
        assert "swarm contract reset" in text


# --- somebody goes away ---------------------------------------------------------------------------------------------

MOMENTS = {
    "collecting": round_open(1, submitted=1),
    "frozen": round_open(1, submitted=4, phase="frozen"),
    "published": published(1),
}
FATES: dict[str, tuple[Fault, float]] = {
    "is lost for ever": (vanish, LATE),
    "is lost and comes back": (cut, 8.0),
    "is restarted": (crash, 0.1),
    "loses its ML process": (lose_ml, LATE),
    "loses its ML process, which returns": (lose_ml, 0.5),
}


@pytest.mark.parametrize("fate", FATES)
@pytest.mark.parametrize("moment", MOMENTS)
def test_a_leader_that_goes_away_is_replaced(moment: str, fate: str) -> None:
    fault, lasts = FATES[fate]
    for swarm in swarms(*[Plan(rounds=3)] * 4, min_peers=3):
        struck: list[str] = []

        def strike_leader(swarm: Swarm = swarm, struck: list[str] = struck) -> None:
            now = swarm.training.round
            assert now is not None
            struck.append(standing(swarm).leader if moment == "published" else now.leader)
            strikes(swarm, fault, struck[0], lasts)()

        swarm.moments.when(MOMENTS[moment], strike_leader)
        run(swarm, without=struck if (fault, lasts) == (lose_ml, LATE) else ())
        assert struck


def test_a_result_that_only_its_lost_leader_had_is_made_again() -> None:
    for swarm in swarms(*[Plan(rounds=3)] * 4, min_peers=3):

        def leave(swarm: Swarm = swarm) -> None:
            strikes(swarm, vanish, standing(swarm).leader)()

        swarm.moments.when(published(1), leave)
        run(swarm)
        again = [body for body in results(swarm) if body.round == 1]
        assert [(len(body.receipt.contributions), body.term) for body in again] == [(4, 0), (3, 1)]


def test_a_swarm_below_min_peers_waits_for_lost_members_and_names_them() -> None:
    for swarm in swarms(Plan(), Plan(), Plan(), min_peers=3):
        told: dict[str, str] = {}

        def leave_alone(swarm: Swarm = swarm, told: dict[str, str] = told) -> None:
            swarm.cut({"sl-2"}, {"sn-1", "sl-1", "sl-3"}, FOR_A_WHILE)
            swarm.clock.after(FOR_A_WHILE, lambda: told.update(reasons(swarm)))

        swarm.moments.when(round_open(1), leave_alone)
        run(swarm)
        assert told.keys() == {"sl-1", "sl-2", "sl-3"}
        assert "sl-2 (lost since" in told["sl-1"]


def test_an_ml_process_that_died_is_not_waited_for_and_returns_to_the_latest_model() -> None:
    for swarm in swarms(*[Plan(rounds=4)] * 3, min_peers=2):
        swarm.moments.when(round_open(1), strikes(swarm, lose_ml, "sl-2", LATE))
        swarm.moments.when(round_open(3), swarm.sites["sl-2"].script.start)
        run(swarm)
        assert swarm.training.members["sl-2"].contributed >= 1
        assert swarm.log.said()["Lost"] > 0


# --- models that cannot be had, or cannot be used -------------------------------------------------------------------


def test_a_contributor_whose_model_nobody_can_fetch_is_left_out_and_gets_the_result() -> None:
    for swarm in swarms(Plan(), Plan(), Plan(settings=CANNOT_LEAD), min_peers=2):
        strikes(swarm, shield, "sl-3", LATE)()
        run(swarm)
        assert left_out(swarm) == {("sl-3", "unreachable")}


def test_a_round_that_lost_too_many_models_collects_them_again() -> None:
    for swarm in swarms(Plan(), Plan(), Plan(), min_peers=3):
        for uid in swarm.sites:
            swarm.moments.when(round_open(1), strikes(swarm, shield, uid, 20.0))
        run(swarm)
        assert {len(body.receipt.contributions) for body in results(swarm)} == {3}
        assert len(published_by_all(swarm)) > len(results(swarm))


def test_a_file_that_is_gone_is_fetched_again() -> None:
    for swarm in swarms(Plan(), Plan(), Plan(), min_peers=3):

        def drop(swarm: Swarm = swarm) -> None:
            swarm.sites[standing(swarm).leader].store.drop(standing(swarm).digest)

        swarm.moments.when(held_by_two, drop)
        run(swarm)


def test_a_result_that_all_have_lost_is_made_again_from_the_result_before() -> None:
    again = 0
    for swarm in swarms(*[Plan(rounds=3)] * 3, min_peers=3):

        def drop(swarm: Swarm = swarm) -> None:
            for site in swarm.sites.values():
                site.store.drop(standing(swarm).digest)

        swarm.moments.when(lambda state: published(1)(state) and held_by_two(state), drop)
        run(swarm)
        again += swarm.log.said()["Void"]
    assert again > 0  # not where all have loaded it


def test_a_model_that_is_not_finite_is_left_out_and_its_site_gets_the_result() -> None:
    for swarm in swarms(Plan(), Plan(), Plan(), min_peers=2):
        swarm.sites["sl-2"].script.poisoned = True
        run(swarm)
        assert left_out(swarm) == {("sl-2", "non-finite")}


def test_a_swarm_that_needs_an_unusable_model_waits_and_names_its_site() -> None:
    for swarm in swarms(Plan(), Plan(), Plan(), min_peers=3):
        told: dict[str, str] = {}

        def listen(swarm: Swarm = swarm, told: dict[str, str] = told) -> None:
            told.update(reasons(swarm))

        swarm.clock.after(FOR_A_WHILE, listen)
        strikes(swarm, poison, "sl-2", FOR_A_WHILE)()
        run(swarm)
        assert told.keys() == {"sl-1", "sl-2", "sl-3"}
        assert "sl-2 (its model cannot be used)" in told["sl-2"]


# --- states that no time heals --------------------------------------------------------------------------------------


def test_a_swarm_in_which_no_member_may_lead_reports_that() -> None:
    for swarm in swarms(*[Plan(settings=CANNOT_LEAD)] * 3, min_peers=2):
        assert swarm.run() == "waits"
        assert set(reasons(swarm)) == {"sl-1", "sl-2", "sl-3"}
        assert "no member can lead" in reasons(swarm)["sl-1"]


def test_a_reset_ends_every_ml_process_with_the_reason() -> None:
    for swarm in swarms(Plan(), Plan(), Plan(), min_peers=2):

        def end(swarm: Swarm = swarm) -> None:
            strike(swarm, reset, None, 0.0)

        swarm.moments.when(round_open(1, submitted=1), end)
        run(swarm)
        assert {uid for uid, _ in swarm.witness.failures} == swarm.sites.keys()
        assert all("reset by an operator" in text for _, text in swarm.witness.failures)
