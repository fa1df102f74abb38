"""Whole trainings in virtual time, in random order: what round machines do together, and when things go wrong."""

from collections import defaultdict
from collections.abc import Callable, Iterable
from functools import partial
from typing import get_args

import pytest

from support.mishaps import KINDS, Kind, Mishaps, random_swarm
from support.roundsim import Plan, Swarm
from swarmlearning.ledger.bodies import CheckinMode
from swarmlearning.ledger.contracts.training import Result, Training

SEEDS = range(25)
"""Orders of events for each story."""


def swarms(*plans: Plan, min_peers: int, seeds: Iterable[int] = SEEDS, late: Iterable[str] = ()) -> Iterable[Swarm]:
    """The same swarm (`sl-1`, `sl-2`, …) in as many orders of events; who is `late` is not started."""
    for seed in seeds:
        swarm = Swarm({f"sl-{index}": plan for index, plan in enumerate(plans, 1)}, min_peers, seed)
        for uid in swarm.sites:
            if uid not in late:
                swarm.start_later(uid)
        yield swarm


def round_open(number: int, submitted: int = 0, frozen: bool = False) -> Callable[[Training], bool]:
    """Whether this round is in progress, with so many models, and frozen or not."""

    def reached(state: Training) -> bool:
        now = state.round
        return now is not None and (now.number, len(now.submissions), now.frozen) == (number, submitted, frozen)

    return reached


def published(number: int) -> Callable[[Training], bool]:
    return lambda state: state.result is not None and state.result.closed.number == number


def held_by_two(state: Training) -> bool:
    return state.result is not None and len(state.result.holders) == 2


def standing(swarm: Swarm) -> Result:
    assert swarm.state.result is not None
    return swarm.state.result


def holds_its_own(swarm: Swarm, uid: str, reader: str, holder: str, digest: str) -> bool:
    """Nobody can fetch from `uid` what it has trained itself."""
    return holder == uid and digest in swarm.made_from


def fails_twice(swarm: Swarm, reader: str, holder: str, digest: str) -> bool:
    """Every fetch succeeds at the third attempt only."""
    return swarm.failures[reader, digest] < 2


def cut_off(uids: Iterable[str], swarm: Swarm) -> None:
    for uid in uids:
        swarm.cut(uid)


def come_back(swarm: Swarm, uid: str) -> None:
    swarm.cut(uid)
    swarm.timers.append(lambda: swarm.heal(uid))


def lose_ml_for_a_while(swarm: Swarm, uid: str) -> None:
    swarm.lose_ml(uid)
    swarm.timers.append(lambda: swarm.start_ml(uid))


# --- all is well ----------------------------------------------------------------------------------------------------


def test_all_end_with_the_same_model_and_every_round_has_all_contributors() -> None:
    for count in (1, 2, 3, 5):
        for swarm in swarms(*[Plan(rounds=3)] * count, min_peers=count):
            swarm.run()
            swarm.assert_complete()
            assert [body.round for body in swarm.results] == [0, 1, 2, 3]
            assert {len(body.receipt.contributions) for body in swarm.results} == {count}


def test_every_hand_over_is_contributed_once() -> None:
    for swarm in swarms(Plan(), Plan(), Plan(), min_peers=3):
        swarm.run()
        trained = [body.digest for _, body in swarm.submits if body.submission == "trained"]
        assert len(trained) == len(set(trained)) == 2 * 3


@pytest.mark.parametrize("checkin", get_args(CheckinMode))
def test_sites_that_finish_early_go_on_until_all_are_done(checkin: CheckinMode) -> None:
    for swarm in swarms(*(Plan(rounds, checkin) for rounds in (1, 2, 4)), min_peers=3):
        swarm.run()
        swarm.assert_complete()
        assert {len(body.receipt.contributions) for body in swarm.results} == {3}
        after_closing = defaultdict(list)
        for uid, body in swarm.submits:
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
        swarm.run()
        swarm.assert_complete()
        assert [body.round for body in swarm.results] == [0, 1]
        assert swarm.results[0].result == swarm.results[1].result


@pytest.mark.parametrize("checkin", get_args(CheckinMode))
def test_who_only_closes_ends_too(checkin: CheckinMode) -> None:
    for swarm in swarms(*[Plan(rounds=0, checkin=checkin)] * 2, min_peers=2):
        swarm.run()
        swarm.assert_complete()


def test_training_is_over_with_min_peers_and_the_others_are_told() -> None:
    for swarm in swarms(Plan(rounds=1), Plan(rounds=1), Plan(rounds=99), min_peers=2):
        swarm.run()
        swarm.assert_complete()
        assert len(swarm.results) < 10


def test_a_latecomer_takes_the_latest_model_before_it_contributes() -> None:
    for swarm in swarms(Plan(rounds=4), Plan(rounds=4), Plan(rounds=1), min_peers=2, late=["sl-3"]):
        swarm.when(published(0), lambda swarm: swarm.start("sl-3"))
        swarm.run()
        swarm.assert_complete()
        assert all(body.base for uid, body in swarm.submits if uid == "sl-3")
        assert swarm.state.members["sl-3"].contributed > 0


def test_who_comes_when_all_is_over_is_told_so() -> None:
    for swarm in swarms(Plan(), Plan(), Plan(), min_peers=2, late=["sl-3"]):
        swarm.when(lambda state: state.over, lambda swarm: swarm.start("sl-3"))
        swarm.run()
        swarm.assert_complete()
        assert "RESET CONTRACT" in (swarm.sites["sl-3"].failed or "")


# --- somebody goes away ---------------------------------------------------------------------------------------------

MOMENTS = {
    "collecting": round_open(1, submitted=1),
    "frozen": round_open(1, submitted=4, frozen=True),
    "published": published(1),
}
FATES: dict[str, Callable[[Swarm, str], None]] = {
    "is lost for ever": Swarm.cut,
    "is lost and comes back": come_back,
    "is restarted": Swarm.restart,
    "loses its ML process": Swarm.lose_ml,
    "loses its ML process, which returns": lose_ml_for_a_while,
}


@pytest.mark.parametrize("fate", FATES)
@pytest.mark.parametrize("moment", MOMENTS)
def test_a_leader_that_goes_away_is_replaced(moment: str, fate: str) -> None:
    def strike(swarm: Swarm) -> None:
        now = swarm.state.round
        assert now is not None
        FATES[fate](swarm, standing(swarm).leader if moment == "published" else now.leader)

    for swarm in swarms(*[Plan(rounds=3)] * 4, min_peers=3):
        swarm.when(MOMENTS[moment], strike)
        swarm.run()
        swarm.assert_complete()


def test_a_result_that_went_away_with_its_leader_is_made_again() -> None:
    for swarm in swarms(*[Plan(rounds=3)] * 4, min_peers=3):
        swarm.when(published(1), lambda swarm: swarm.cut(standing(swarm).leader))
        swarm.run()
        swarm.assert_complete()
        again = [body for body in swarm.results if body.round == 1]
        assert [(len(body.receipt.contributions), body.term) for body in again] == [(4, 0), (3, 1)]


def test_below_min_peers_the_swarm_waits_for_those_who_are_away_and_says_so() -> None:
    for swarm in swarms(Plan(), Plan(), Plan(), min_peers=3):
        swarm.when(round_open(1), lambda swarm: swarm.cut("sl-2"))
        swarm.run()
        assert swarm.reasons().keys() == {"sl-1", "sl-2", "sl-3"}
        assert "sl-2 (lost since" in swarm.reasons()["sl-1"]
        swarm.heal("sl-2")
        swarm.run()
        swarm.assert_complete()


def test_an_ml_process_that_died_is_not_waited_for_and_returns_to_the_latest_model() -> None:
    for swarm in swarms(*[Plan(rounds=4)] * 3, min_peers=2):
        swarm.when(round_open(1), lambda swarm: swarm.lose_ml("sl-2"))
        swarm.when(round_open(3), lambda swarm: swarm.start_ml("sl-2"))
        swarm.run()
        swarm.assert_complete()
        assert swarm.state.members["sl-2"].contributed >= 1


# --- models that cannot be had, or cannot be used -------------------------------------------------------------------


def test_a_contributor_whose_model_nobody_can_fetch_is_left_out_and_gets_the_result() -> None:
    for swarm in swarms(Plan(), Plan(), Plan(), min_peers=2):
        swarm.unreachable = partial(holds_its_own, swarm, "sl-3")
        swarm.run()
        swarm.assert_complete()
        left_out = {(part.uid, part.reason) for body in swarm.results for part in body.receipt.exclusions}
        assert left_out == {("sl-3", "unreachable")}


def test_a_round_that_lost_too_many_models_collects_them_again() -> None:
    for swarm in swarms(Plan(), Plan(), Plan(), min_peers=3):
        swarm.unreachable = partial(fails_twice, swarm)
        swarm.run()
        swarm.assert_complete()
        assert {len(body.receipt.contributions) for body in swarm.results} == {3}


def test_a_file_that_is_gone_is_fetched_again() -> None:
    for swarm in swarms(Plan(), Plan(), Plan(), min_peers=3):
        swarm.when(held_by_two, lambda swarm: swarm.drop(standing(swarm).leader, standing(swarm).digest))
        swarm.run()
        swarm.assert_complete()


def test_a_result_that_all_have_lost_is_made_again_from_the_model_before() -> None:
    def drop(swarm: Swarm) -> None:
        for uid in swarm.sites:
            swarm.drop(uid, standing(swarm).digest)

    for swarm in swarms(*[Plan(rounds=3)] * 3, min_peers=3):
        swarm.when(lambda state: published(1)(state) and held_by_two(state), drop)
        swarm.run()
        swarm.assert_complete()


def test_a_model_that_is_not_finite_is_left_out_and_its_site_gets_the_result() -> None:
    for swarm in swarms(Plan(), Plan(), Plan(), min_peers=2):
        swarm.sites["sl-2"].poisoned = True
        swarm.run()
        swarm.assert_complete()
        left_out = {(part.uid, part.reason) for body in swarm.results for part in body.receipt.exclusions}
        assert left_out == {("sl-2", "non-finite")}


def test_without_a_usable_model_of_everybody_needed_the_swarm_waits_and_says_why() -> None:
    for swarm in swarms(Plan(), Plan(), Plan(), min_peers=3):
        swarm.sites["sl-2"].poisoned = True
        swarm.run()
        assert swarm.reasons().keys() == {"sl-1", "sl-2", "sl-3"}
        assert "sl-2 (its model cannot be used)" in swarm.reasons()["sl-2"]
        swarm.sites["sl-2"].poisoned = False
        swarm.lose_ml("sl-2")
        swarm.start_ml("sl-2")
        swarm.run()
        swarm.assert_complete()


# --- states that no time heals --------------------------------------------------------------------------------------


def test_nobody_who_may_lead_is_a_state_with_a_text() -> None:
    for swarm in swarms(*[Plan(may_lead=False)] * 3, min_peers=2):
        swarm.run()
        assert set(swarm.reasons()) == {"sl-1", "sl-2", "sl-3"}
        assert "no member can lead" in swarm.reasons()["sl-1"]


def test_a_reset_ends_every_ml_process_with_the_reason() -> None:
    for swarm in swarms(Plan(), Plan(), Plan(), min_peers=2):
        swarm.when(round_open(1, submitted=1), Swarm.reset)
        swarm.run()
        assert all("reset by an operator" in (site.failed or "") for site in swarm.sites.values())
        for uid in swarm.sites:
            swarm.start_ml(uid)
        swarm.run()
        swarm.assert_complete()


# --- anything, at any time ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_after_mishaps_of_one_kind_all_end_with_the_same_model(kind: Kind) -> None:
    for seed in range(200):
        swarm = random_swarm(seed)
        Mishaps(swarm, seed, kinds=(kind,), count=8)
        swarm.run()
        swarm.assert_complete()


def test_after_mishaps_of_all_kinds_all_end_with_the_same_model() -> None:
    for seed in range(1000):
        swarm = random_swarm(seed)
        Mishaps(swarm, seed)
        swarm.run()
        swarm.assert_complete()


def test_who_is_left_ends_or_is_told_whom_it_waits_for() -> None:
    ended = 0
    for seed in range(300):
        swarm = random_swarm(seed)
        gone = [uid for uid in swarm.sites if swarm.random.random() < 0.3]
        Mishaps(swarm, seed, kinds=("ml-dies", "restart", "fetch"))
        swarm.when(round_open(1), partial(cut_off, gone))
        swarm.run()
        away = [uid for uid in swarm.sites if swarm.sites[uid].cut]
        ended += swarm.state.over
        for site in swarm.sites.values():
            if site.process and not site.cut:
                reason = swarm.reasons()[site.uid]
                assert any(f"{uid} (lost since" in reason for uid in away) or "no member can lead" in reason
    assert 100 < ended < 300
