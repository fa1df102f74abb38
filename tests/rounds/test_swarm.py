"""Whole trainings in virtual time, in many orders of events: what round machines do together, and what becomes of one
thing that goes wrong at one moment. Anything at any time is in `tests/simulation`.
"""

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import get_args

import pytest

from simulation.faults import Fault, crash, cut, leave, lose_ml, poison, reset, shield, stick, strike, vanish
from simulation.ledger import CONTRACT
from simulation.scenario import Scenario
from simulation.site import SETTINGS, Plan
from simulation.swarm import Swarm
from simulation.unsigned import signatures_unchecked
from swarmlearning.choices import CheckinMode
from swarmlearning.ledger.bodies import Depose, Publish, Submit
from swarmlearning.ledger.contracts.training.state import Phase, Result, Training
from swarmlearning.views.render import waiting_text

SEEDS = range(12)
"""Orders of events for each story."""
LATENCIES = (0.01, 0.1, 0.5)
"""From quick to as slow as training."""
FOR_A_WHILE = 60.0
LATE = math.inf
CANNOT_LEAD = replace(SETTINGS, make_me_admin=False)


@pytest.fixture(autouse=True)
def unsigned() -> Iterator[None]:
    with signatures_unchecked():
        yield


def swarms(*plans: Plan, min_peers: int) -> Iterator[Swarm]:
    """The same swarm (`sl-1`, `sl-2`, …) in as many orders of events; who joins `LATE` is not started."""
    for seed in SEEDS:
        scenario = Scenario(plans, min_peers, latency=LATENCIES[seed % len(LATENCIES)], doubling=0.1)
        swarm = Swarm(scenario, seed)
        swarm.until_healed(FOR_A_WHILE)  # so long messages come twice
        yield swarm


def round_open(number: int, submitted: int = 0, phase: Phase = "collecting") -> Callable[[Training], bool]:
    """Whether this round is in progress, with so many models, in this phase."""

    def reached(state: Training) -> bool:
        now = state.round
        return now is not None and (now.number, len(now.submissions), now.phase) == (number, submitted, phase)

    return reached


def published(number: int) -> Callable[[Training], bool]:
    return lambda state: state.result is not None and state.result.closed.number == number


def held_by_two(state: Training) -> bool:
    return state.result is not None and len(state.result.holders) == 2


def standing(swarm: Swarm) -> Result:
    assert swarm.training.result is not None
    return swarm.training.result


def submits(swarm: Swarm) -> list[tuple[str, Submit]]:
    """Who submitted what, in order."""
    said = [entry.content for entry in swarm.log.entries]
    return [(one.sender, one.body) for one in said if isinstance(one.body, Submit)]


def published_by_all(swarm: Swarm) -> list[Publish]:
    """Every merge that was published, also those of too few models, which have no result."""
    bodies = [entry.content.body for entry in swarm.log.entries]
    return [body for body in bodies if isinstance(body, Publish)]


def results(swarm: Swarm) -> list[Publish]:
    return [body for body in published_by_all(swarm) if body.result]


def left_out(swarm: Swarm) -> set[tuple[str, str]]:
    """Whose models were not merged, and why."""
    return {(part.uid, part.reason) for body in results(swarm) for part in body.receipt.exclusions}


def reasons(swarm: Swarm) -> dict[str, str]:
    """What each waiting ML process is told."""
    told = {uid: site.machine.waiting for uid, site in swarm.sites.items() if site.machine}
    return {uid: waiting_text(facts, {}) for uid, facts in told.items() if facts}


def strikes(swarm: Swarm, fault: Fault, uid: str, lasts: float = FOR_A_WHILE) -> Callable[[], None]:
    """Lets the fault strike this site, later."""
    return lambda: strike(swarm, fault, swarm.sites[uid], lasts)


def run(swarm: Swarm, without: Iterable[str] = ()) -> None:
    """Until all have ended: well and with the final model, but those `without` an ML process or who came too late."""
    assert swarm.run() == "complete"
    for uid, site in swarm.sites.items():
        if not site.dead and uid not in without and site.script.failed is None:
            assert site.script.final == standing(swarm).digest, uid


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


def test_every_hand_over_is_contributed_once() -> None:
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
def test_who_only_closes_ends_too(checkin: CheckinMode) -> None:
    for swarm in swarms(*[Plan(rounds=0, checkin=checkin)] * 2, min_peers=2):
        run(swarm)


def test_training_is_over_with_min_peers_and_the_others_are_told() -> None:
    for swarm in swarms(Plan(rounds=1), Plan(rounds=1), Plan(rounds=99), min_peers=2):
        run(swarm)
        assert len(results(swarm)) < 10


def test_a_latecomer_takes_the_latest_model_before_it_contributes() -> None:
    for swarm in swarms(Plan(rounds=4), Plan(rounds=4), Plan(rounds=1, joins=LATE), min_peers=2):
        swarm.moments.when(published(0), swarm.sites["sl-3"].start)
        run(swarm)
        assert all(body.base for uid, body in submits(swarm) if uid == "sl-3")
        assert swarm.training.members["sl-3"].contributed > 0


def test_who_holds_the_latest_model_is_waited_for_though_it_has_only_begun() -> None:
    for swarm in swarms(Plan(rounds=6), Plan(rounds=6), Plan(joins=LATE, begins=20.0), min_peers=2):
        swarm.moments.when(published(0), swarm.sites["sl-3"].start)
        run(swarm)
        assert swarm.training.members["sl-3"].contributed > 1


def test_who_comes_when_all_is_over_is_told_so() -> None:
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


def test_a_result_that_went_away_with_its_leader_is_made_again() -> None:
    for swarm in swarms(*[Plan(rounds=3)] * 4, min_peers=3):

        def leave(swarm: Swarm = swarm) -> None:
            strikes(swarm, vanish, standing(swarm).leader)()

        swarm.moments.when(published(1), leave)
        run(swarm)
        again = [body for body in results(swarm) if body.round == 1]
        assert [(len(body.receipt.contributions), body.term) for body in again] == [(4, 0), (3, 1)]


def test_below_min_peers_the_swarm_waits_for_those_who_are_away_and_says_so() -> None:
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


def test_a_result_that_all_have_lost_is_made_again_from_the_model_before() -> None:
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


def test_without_a_usable_model_of_everybody_needed_the_swarm_waits_and_says_why() -> None:
    for swarm in swarms(Plan(), Plan(), Plan(), min_peers=3):
        told: dict[str, str] = {}

        def listen(swarm: Swarm = swarm, told: dict[str, str] = told) -> None:
            told.update(reasons(swarm))

        swarm.clock.after(FOR_A_WHILE, listen)
        strikes(swarm, poison, "sl-2", FOR_A_WHILE)()
        run(swarm)
        assert told.keys() == {"sl-1", "sl-2", "sl-3"}
        assert "sl-2 (its model cannot be used)" in told["sl-2"]


# --- sites that nobody can fetch from -------------------------------------------------------------------------------


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


# --- leaders that stand still ---------------------------------------------------------------------------------------


def frozen(number: int) -> Callable[[Training], bool]:
    """Whether this round is frozen."""
    return lambda state: state.round is not None and (state.round.number, state.round.phase) == (number, "frozen")


def closes(number: int, swarm: Swarm) -> list[float]:
    """The time at which the result of this round stands first, once it does."""
    times: list[float] = []
    swarm.moments.when(published(number), lambda: times.append(swarm.clock.now))
    return times


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
                seen = swarm.log.head.height
                lease = Depose(current.number, current.term, 1, seen, "lease")
                swarm.append(sn.author.write(swarm.log.head, CONTRACT, lease), sn)
            assert swarm.training.round is not None
            strikes(swarm, stick, swarm.training.round.leader, 800.0)()

        swarm.moments.when(round_open(1), lose_many_and_stick)
        swarm.until_healed(1000.0)
        (closed,) = [closes(1, swarm)]
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
        (closed,) = [closes(1, swarm)]
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

        def hurry(swarm: Swarm = swarm) -> None:
            for site in swarm.sites.values():
                site.store.slowness = 1

        swarm.moments.when(frozen(2), dawdle)
        (closed,) = [closes(2, swarm)]
        swarm.clock.after(3000.0, hurry)
        swarm.until_healed(6000.0)
        run(swarm)
        assert closed[0] - begun[0] < 400.0


# --- leaving --------------------------------------------------------------------------------------------------------


def test_a_site_that_leaves_while_its_ml_process_starts_reports_nothing_after_it_has_left() -> None:
    """What it had to report must not cross its `Leave` (seed 9105349)."""
    for swarm in swarms(*[Plan(rounds=3)] * 4, min_peers=3):

        def restart_and_leave(swarm: Swarm = swarm) -> None:
            strikes(swarm, lose_ml, "sl-2", 0.0)()
            swarm.clock.after(0.0005, strikes(swarm, leave, "sl-2", 5.0))

        swarm.moments.when(published(0), restart_and_leave)
        run(swarm)


# --- states that no time heals --------------------------------------------------------------------------------------


def test_nobody_who_may_lead_is_a_state_with_a_text() -> None:
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
