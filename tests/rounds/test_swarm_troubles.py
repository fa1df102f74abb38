"""Whole trainings in virtual time in which models cannot be fetched or are lost, or leaders stand still."""

from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from simulation.faults import drip, fill, leave, lose_ml, shield, stick, trickle
from simulation.ledger import CONTRACT
from simulation.site import SETTINGS, Plan
from simulation.swarm import Swarm
from simulation.unsigned import signatures_unchecked
from support.stories import (
    CANNOT_LEAD,
    LATE,
    left_out,
    published,
    reasons,
    results,
    round_open,
    run,
    standing,
    strikes,
    swarms,
)
from swarmlearning.ledger.bodies import Back, Depose, Lost
from swarmlearning.ledger.contracts import network
from swarmlearning.ledger.contracts.training.state import Training
from swarmlearning.rounds.events import Dropped


@pytest.fixture(autouse=True)
def unsigned() -> Iterator[None]:
    with signatures_unchecked():
        yield


def frozen(number: int) -> Callable[[Training], bool]:
    """Returns a condition that holds while this round is frozen."""
    return lambda state: state.round is not None and (state.round.number, state.round.phase) == (number, "frozen")


def first_time(reached: Callable[[Training], bool], swarm: Swarm) -> list[float]:
    """The time at which the training is in such a state first, once it is."""
    times: list[float] = []
    swarm.moments.when(reached, lambda: times.append(swarm.clock.now))
    return times


# --- sites that nobody can fetch from -------------------------------------------------------------------------------


def unreachable(state: Training) -> bool:
    """True if others could not fetch a member's result."""
    return any(member.unreachable for member in state.members.values())


@pytest.mark.parametrize("uid", ["sl-1", "sl-2", "sl-3"])
def test_a_site_that_nobody_can_ever_fetch_from_does_not_stop_those_that_can_go_on_without_it(uid: str) -> None:
    """Whoever leads in turn: what the unreachable site publishes is made again by another."""
    for swarm in swarms(Plan(rounds=5), Plan(rounds=5), Plan(rounds=5), min_peers=2):
        strikes(swarm, shield, uid, LATE)()
        run(swarm)
        assert [body.round for body in results(swarm)][-1] >= 5
        assert swarm.log.said()["Void"] <= 1, "once is enough to know it"


@pytest.mark.parametrize("uid", ["sl-1", "sl-2"])
def test_a_swarm_that_needs_a_site_that_nobody_can_fetch_from_waits_quietly_and_says_for_what(uid: str) -> None:
    quiet, healed = 300.0, 1500.0
    for swarm in swarms(Plan(rounds=2), Plan(rounds=2), min_peers=2):
        heights: list[int] = []
        told: dict[str, str] = {}

        def look(swarm: Swarm = swarm, heights: list[int] = heights) -> None:
            heights.append(swarm.log.head.height)

        def listen(swarm: Swarm = swarm, told: dict[str, str] = told) -> None:
            told.update(reasons(swarm))

        swarm.clock.after(quiet, look)
        swarm.clock.after(healed, look)
        swarm.clock.after(healed, listen)
        swarm.until_healed(healed)
        strikes(swarm, shield, uid, healed)()
        run(swarm)
        since_then = heights[1] - heights[0]
        assert since_then <= (healed - quiet) / 60, "less than one transaction a minute"
        assert f"{uid} (others cannot fetch models from it)" in told["sl-1"]


def test_a_site_that_could_not_be_fetched_from_once_leads_again_when_the_other_leaders_cannot_work() -> None:
    """The disk of the only other site that may lead is full for long (seed 20000614)."""
    led_again = 0
    for swarm in swarms(Plan(rounds=3), Plan(rounds=3), Plan(rounds=3, settings=CANNOT_LEAD), min_peers=2):
        begun: list[float] = []

        def shield_the_leader(swarm: Swarm = swarm) -> None:
            strikes(swarm, shield, standing(swarm).leader, 2000.0)()

        def fill_the_other_leader(swarm: Swarm = swarm, begun: list[float] = begun) -> None:
            begun.append(swarm.clock.now)
            for uid in ("sl-1", "sl-2"):
                if swarm.training.members[uid].unreachable:
                    swarm.sites[uid].shielded = False
                else:
                    strikes(swarm, fill, uid, 2000.0)()

        swarm.moments.when(published(0), shield_the_leader)
        swarm.moments.when(unreachable, fill_the_other_leader)
        swarm.until_healed(2000.0)
        closed = first_time(published(1), swarm)
        run(swarm)
        led_again += bool(begun)
        assert not begun or closed[0] - begun[0] < 300.0
    assert led_again > 0


# --- sites that cannot store a result ---------------------------------------------------------------------------------


def test_a_site_that_cannot_store_a_result_does_not_have_it_made_again_and_goes_on_soon_after_it_can() -> None:
    """Else its leader would wait longer with every result in vain (seed 20014242)."""
    full = 800.0
    for swarm in swarms(Plan(rounds=3), Plan(rounds=3), min_peers=2):

        def fill_the_other(swarm: Swarm = swarm) -> None:
            other = "sl-2" if standing(swarm).leader == "sl-1" else "sl-1"
            swarm.sites[other].store.drop(standing(swarm).digest)
            strikes(swarm, fill, other, full)()

        swarm.moments.when(published(1), fill_the_other)
        swarm.until_healed(full)
        begun, closed = first_time(published(1), swarm), first_time(published(2), swarm)
        run(swarm)
        assert swarm.log.said()["Void"] == 0
        assert closed[0] - begun[0] < full + 120.0


def test_a_site_that_cannot_store_the_final_result_does_not_keep_the_others_from_ending() -> None:
    full = 2000.0
    for swarm in swarms(*[Plan(rounds=2)] * 4, min_peers=2):

        def fill_another(swarm: Swarm = swarm) -> None:
            strikes(swarm, fill, "sl-2" if standing(swarm).leader == "sl-1" else "sl-1", full)()

        swarm.moments.when(lambda state: state.over, fill_another)
        swarm.until_healed(full)
        over, settled = first_time(lambda state: state.over, swarm), first_time(lambda state: state.settled, swarm)
        run(swarm)
        assert settled[0] - over[0] < 120.0


# --- contributions that never end -----------------------------------------------------------------------------------


@pytest.mark.parametrize("uid", ["sl-1", "sl-2", "sl-3"])
def test_a_contribution_that_never_ends_is_left_out_by_name_soon_after_the_others_are_there(uid: str) -> None:
    """Three times as long as the others took are at least 10 s."""
    seen: set[tuple[str, str]] = set()
    for swarm in swarms(*[Plan(rounds=4)] * 3, min_peers=2):
        swarm.moments.when(published(0), strikes(swarm, drip, uid))
        begun, closed = first_time(frozen(1), swarm), first_time(published(1), swarm)
        run(swarm)
        seen |= left_out(swarm)
        assert closed[0] - begun[0] < 30.0
    assert seen == {(uid, "too-slow")}


def test_a_contribution_that_never_ends_does_not_hold_up_a_round_that_the_others_came_late_for() -> None:
    """minPeers others do not contribute, but one that came late makes enough of them (seeds 63 and 138)."""
    hasty = replace(SETTINGS, full_quorum_seconds=1.0)
    for swarm in swarms(*[Plan(rounds=4, settings=hasty)] * 2, Plan(rounds=4, train=8.0, settings=hasty), min_peers=2):
        swarm.moments.when(published(0), strikes(swarm, drip, "sl-2"))
        begun, closed = first_time(frozen(1), swarm), first_time(published(1), swarm)
        run(swarm)
        assert closed[0] - begun[0] < 60.0


def test_a_contribution_that_never_ends_does_not_hold_up_a_round_in_which_another_could_not_be_fetched() -> None:
    """With that one the round is collected again (seed 20003133)."""
    for swarm in swarms(*[Plan(rounds=4, transfer=0.5)] * 4, min_peers=3):

        def shield_another(swarm: Swarm = swarm) -> None:
            current = swarm.training.round
            assert current is not None
            strikes(swarm, shield, "sl-3" if current.leader != "sl-3" else "sl-4", 20.0)()

        swarm.moments.when(published(0), strikes(swarm, drip, "sl-2"))
        swarm.moments.when(round_open(1, 1), shield_another)
        begun, closed = first_time(round_open(1, 1), swarm), first_time(published(1), swarm)
        run(swarm)
        assert closed[0] - begun[0] < 200.0


# --- results that never come -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("uid", ["sl-1", "sl-2", "sl-3"])
def test_results_that_never_come_are_made_again_by_another_and_all_can_end(uid: str) -> None:
    """The one that serves them so may hold the final result, too (seed 20000507)."""
    for swarm in swarms(*[Plan(rounds=4)] * 3, min_peers=2):
        swarm.moments.when(published(0), strikes(swarm, trickle, uid))
        begun, settled = first_time(published(0), swarm), first_time(lambda state: state.settled, swarm)
        run(swarm)
        assert settled[0] - begun[0] < 300.0
        assert swarm.log.said()["Void"] <= 2, "once may be chance"


def test_two_sites_of_which_one_never_gets_the_final_result_can_end() -> None:
    """Nobody else could make it again where one site is enough (seed 20000507)."""
    for swarm in swarms(*[Plan(rounds=2)] * 2, min_peers=1):

        def trickle_from_its_leader(swarm: Swarm = swarm) -> None:
            swarm.sites[standing(swarm).leader].trickling = True

        swarm.moments.when(lambda state: state.over, trickle_from_its_leader)
        over, settled = first_time(lambda state: state.over, swarm), first_time(lambda state: state.settled, swarm)
        swarm.harmed |= set(swarm.sites)
        run(swarm)
        assert settled[0] - over[0] < 150.0


def test_a_leader_gets_the_base_from_a_site_that_serves_it_though_another_drips() -> None:
    """It would wait for the one that drips whenever it leads, if that came first (seed 20020782)."""
    plans = [Plan(rounds=3, settings=CANNOT_LEAD), Plan(rounds=3, settings=CANNOT_LEAD), Plan(rounds=3)]
    for swarm in swarms(*plans, min_peers=2):

        def lose_the_result(swarm: Swarm = swarm) -> None:
            strikes(swarm, trickle, "sl-1")()
            for site in swarm.sites.values():
                site.store.drop(standing(swarm).digest)
            swarm.sites["sl-3"].store.drop(standing(swarm).closed.base)
            swarm.sites["sl-3"].tell(Dropped(standing(swarm).closed.base))

        swarm.moments.when(published(1), lose_the_result)
        begun, settled = first_time(published(1), swarm), first_time(lambda state: state.settled, swarm)
        run(swarm)
        assert settled[0] - begun[0] < 300.0


def test_a_site_gets_the_final_result_from_others_though_one_that_came_back_drips() -> None:
    """It tries the one that came back first, as it has not tried that one yet (seed 20020842)."""
    for swarm in swarms(*[Plan(rounds=2)] * 4, min_peers=2):

        def fill_and_trickle(swarm: Swarm = swarm) -> None:
            filled, back, *_ = [uid for uid in swarm.sites if uid != standing(swarm).leader]
            strikes(swarm, fill, filled, 15.0)()
            strikes(swarm, leave, back, 5.0)()
            strikes(swarm, trickle, back)()

        swarm.moments.when(lambda state: state.over, fill_and_trickle)
        over, settled = first_time(lambda state: state.over, swarm), first_time(lambda state: state.settled, swarm)
        run(swarm)
        assert settled[0] - over[0] < 100.0
        assert not swarm.witness.failures


# --- models that are lost -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("min_peers", [1, 2, 3])
def test_a_result_and_its_base_that_are_lost_on_every_disk_are_done_without(min_peers: int) -> None:
    """All contribute what they have (seed 7001279)."""
    voids = 0
    for swarm in swarms(*[Plan(rounds=3)] * 3, min_peers=min_peers):

        def drop(swarm: Swarm = swarm) -> None:
            for site in swarm.sites.values():
                for digest in (standing(swarm).digest, standing(swarm).closed.base):
                    site.store.drop(digest)

        swarm.moments.when(published(1), drop)
        run(swarm)
        voids += swarm.log.said()["Void"]
    assert voids > 0


def test_a_base_that_only_a_site_has_that_nobody_can_fetch_from_is_done_without() -> None:
    """The others have lost it with the result, and their ML processes need it to begin (seed 20000664)."""
    for swarm in swarms(*[Plan(rounds=3)] * 4, min_peers=3):

        def lose_all_but_the_base_of_one(swarm: Swarm = swarm) -> None:
            result, keeper = standing(swarm).digest, swarm.sites[standing(swarm).leader]
            strikes(swarm, shield, keeper.uid, 2000.0)()
            keeper.store.put(standing(swarm).closed.base)
            for site in swarm.sites.values():
                site.store.drop(result)
                if site is not keeper:
                    site.store.drop(standing(swarm).closed.base)
                    strikes(swarm, lose_ml, site.uid, 1.0)()

        swarm.until_healed(2000.0)
        swarm.moments.when(published(1), lose_all_but_the_base_of_one)
        begun, closed = first_time(published(1), swarm), first_time(published(2), swarm)
        run(swarm)
        assert closed[0] - begun[0] < 300.0


# --- leaders that stand still ---------------------------------------------------------------------------------------


def test_a_leader_that_stands_still_is_replaced_soon_however_many_leaders_were_lost_before_it() -> None:
    """SNs that judge leases differently depose one after the other; patience does not grow with that (seed 7015532)."""
    for swarm in swarms(*[Plan(rounds=2)] * 4, min_peers=3):
        begun: list[float] = []

        def lose_many_and_stick(swarm: Swarm = swarm, begun: list[float] = begun) -> None:
            begun.append(swarm.clock.now)
            sn = swarm.sns[0]
            for _ in range(9):
                current = swarm.training.round
                assert current is not None
                for body in (Lost(current.leader, 1), Back(current.leader, 1)):
                    swarm.append(sn.author.write(swarm.log.head, network.CONTRACT, body), sn)
            assert swarm.training.round is not None
            strikes(swarm, stick, swarm.training.round.leader, 800.0)()

        swarm.moments.when(round_open(1), lose_many_and_stick)
        swarm.until_healed(1000.0)
        closed = first_time(published(1), swarm)
        run(swarm)
        assert closed[0] - begun[0] < 150.0


def test_a_leader_that_stands_still_a_second_time_does_not_cost_many_times_the_patience() -> None:
    """All others were deposed too, since their merges are slow and cannot be seen to move (seed 9213764)."""
    for swarm in swarms(*[Plan(rounds=2, work=40.0, silent=True)] * 4, min_peers=3):
        begun: list[float] = []

        def depose_all(swarm: Swarm = swarm, begun: list[float] = begun) -> None:
            begun.append(swarm.clock.now)
            assert swarm.training.round is not None
            strikes(swarm, stick, swarm.training.round.leader, 800.0)()
            for _ in range(4):
                current = swarm.training.round
                assert current is not None
                others = [uid for uid in swarm.sites if uid != current.leader][:2]
                for uid in others:
                    report = Depose(current.number, current.term, 1, swarm.log.head.height, "progress")
                    author = swarm.sites[uid].link.author
                    swarm.append(author.write(swarm.log.head, CONTRACT, report), swarm.sns[0])

        swarm.moments.when(frozen(1), depose_all)
        swarm.until_healed(1000.0)
        closed = first_time(published(1), swarm)
        run(swarm)
        assert closed[0] - begun[0] < 300.0


def test_a_leader_whose_progress_never_ends_is_replaced() -> None:
    """It keeps reporting progress but does not publish; the others know how long leaders take."""
    for swarm in swarms(*[Plan(rounds=4)] * 4, min_peers=3):
        begun: list[float] = []

        def dawdle(swarm: Swarm = swarm, begun: list[float] = begun) -> None:
            begun.append(swarm.clock.now)
            assert swarm.training.round is not None
            swarm.sites[swarm.training.round.leader].store.slowness = 20_000
            swarm.harmed.add(swarm.training.round.leader)  # the others end without it

        def hurry(swarm: Swarm = swarm) -> None:
            for site in swarm.sites.values():
                site.store.slowness = 1

        swarm.moments.when(frozen(2), dawdle)
        closed = first_time(published(2), swarm)
        swarm.clock.after(3000.0, hurry)
        swarm.until_healed(6000.0)
        run(swarm)
        assert closed[0] - begun[0] < 400.0


# --- leaving --------------------------------------------------------------------------------------------------------


def test_a_site_that_leaves_while_its_ml_process_starts_reports_nothing_after_it_has_left() -> None:
    """A report that it had to send must not cross its `Leave` (seed 9105349)."""
    for swarm in swarms(*[Plan(rounds=3)] * 4, min_peers=3):

        def restart_and_leave(swarm: Swarm = swarm) -> None:
            strikes(swarm, lose_ml, "sl-2", 0.0)()
            swarm.clock.after(0.0005, strikes(swarm, leave, "sl-2", 5.0))

        swarm.moments.when(published(0), restart_and_leave)
        run(swarm)
