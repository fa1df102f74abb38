"""Plans and schedules of faults, and when and whom they hit: tables, without any process."""

from collections import Counter
from pathlib import Path

import pytest

from support.play import Play
from swarmlearning.cli.chaos import sight
from swarmlearning.cli.chaos.plan import Fault, Kind, Phase, Plan, Recipe, Target, load, schedule
from swarmlearning.cli.chaos.plans import READY
from swarmlearning.supervise.processes import RunError

KILLS = Plan(
    name="kills",
    faults=10,
    recipes=(Recipe("kill", "leader", ("collecting", "merging"), (1.0, 2.0)), Recipe("kill", "sn", seconds=(3.0, 3.0))),
    pause_rounds=(2, 4),
)


def fault(kind: Kind = "kill", target: Target = "leader", phase: Phase = "any", pick: int = 0) -> Fault:
    return Fault(1, kind, target, phase, 1.0, 1.0, 1, pick)


# --- schedules


def test_a_seed_always_makes_the_same_schedule_of_faults() -> None:
    """Written out: a schedule that changes with a version of ours would make old reports worthless."""
    shown = [(each.kind, each.target, each.phase, each.seconds, each.pause_rounds) for each in schedule(KILLS, 7)[:4]]
    assert shown == [
        ("kill", "leader", "collecting", 1.75, 4),
        ("kill", "leader", "merging", 1.54, 2),
        ("kill", "sn", "any", 3.0, 2),
        ("kill", "leader", "merging", 1.3, 2),
    ]


def test_other_seeds_and_plans_make_other_schedules_of_faults() -> None:
    first = schedule(KILLS, 1)
    assert first == schedule(KILLS, 1)
    assert first != schedule(KILLS, 2)
    assert len({tuple(each.pick for each in schedule(plan, 1)) for plan in READY.values()}) == len(READY)


def test_every_recipe_and_phase_of_a_plan_is_used_once_before_any_is_repeated() -> None:
    drawn = [(each.target, each.phase) for each in schedule(KILLS, 3)]
    pairs = {("leader", "collecting"), ("leader", "merging"), ("sn", "any")}
    assert [set(drawn[start : start + 3]) for start in (0, 3, 6)] == [pairs] * 3
    assert [each.number for each in schedule(KILLS, 3)] == list(range(1, 11))


def test_a_drawn_value_of_a_plan_is_within_its_range() -> None:
    for each in schedule(KILLS, 5):
        low, high = (1.0, 2.0) if each.target == "leader" else (3.0, 3.0)
        assert low <= each.seconds <= high
        assert 2 <= each.pause_rounds <= 4


def test_every_built_in_chaos_plan_loads() -> None:
    assert {
        *("leader-kill", "leader-freeze", "follower-kill", "ml-kill", "sn-kill", "partition", "slow-link"),
        *("corrupt-file", "mixed", "hundred-kills"),
    } == set(READY)
    assert all(plan.about and plan.name == name for name, plan in READY.items())
    assert {each.kind for each in schedule(READY["hundred-kills"], 1)} == {"kill"}
    targets = Counter(each.target for each in schedule(READY["hundred-kills"], 1))
    assert targets == {"leader": 51, "follower": 16, "ml": 17, "sn": 16}
    assert {name for name, plan in READY.items() if plan.on_the_network} == {"partition", "slow-link", "mixed"}


# --- files

TOML = """
name = "mine"
faults = 3
[[recipes]]
fault = "kill"
target = "leader"
phases = ["merging"]
seconds = [1, 2.5]
"""
JSON = (
    '{"name": "mine", "faults": 3, '
    '"recipes": [{"fault": "kill", "target": "leader", "phases": ["merging"], "seconds": [1, 2.5]}]}'
)


@pytest.mark.parametrize(("name", "text"), [("plan.toml", TOML), ("plan.json", JSON)])
def test_a_chaos_plan_is_loaded_from_a_file(tmp_path: Path, name: str, text: str) -> None:
    path = tmp_path / name
    path.write_text(text)
    expected = Plan(name="mine", faults=3, recipes=(Recipe("kill", "leader", ("merging",), (1.0, 2.5)),))
    assert load(path) == expected


def recipe(more: str) -> str:
    return f'name = "mine"\n[[recipes]]\n{more}'


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("name = ", "is no plan: Invalid value"),
        ('name = "mine"\nrecipes = []', "length >= 1 - at `$.recipes`"),
        (recipe('fault = "tickle"\ntarget = "leader"'), "Invalid enum value 'tickle' - at `$.recipes[0].fault`"),
        (recipe('fault = "kill"\ntarget = "leader"\nphases = ["lunch"]'), "'lunch' - at `$.recipes[0].phases[0]`"),
        (recipe('fault = "kill"\ntarget = "leader"\nfrequency = 1'), "unknown field `frequency`"),
        (recipe('fault = "kill"\ntarget = "leader"\nseconds = [2, 1]'), "2.0 to 1.0 is not a range"),
        (recipe('fault = "freeze"\ntarget = "leader"\nseconds = [1, 4]'), "a freeze lasts longer than a lease: 3 s or"),
        (recipe('fault = "partition"\ntarget = "sn"'), "a sn can be killed or frozen, not hit by partition"),
    ],
)
def test_a_file_that_is_no_chaos_plan_is_refused_with_the_reason(tmp_path: Path, text: str, complaint: str) -> None:
    path = tmp_path / "plan.toml"
    path.write_text(text)
    with pytest.raises(RunError) as caught:
        load(path)
    assert str(caught.value).startswith(f"{path} is no plan: ")
    assert complaint in str(caught.value)


# --- when, and whom


def test_the_phase_of_a_round_follows_from_the_ledger() -> None:
    play = Play("a", "b", "c")
    seen = []

    def look() -> None:
        phases: tuple[Phase, ...] = ("collecting", "merging", "publishing", "distributing")
        seen.append([phase for phase in phases if sight.is_in(play.state, phase)])

    look()
    play.submit("a", "b")
    look()
    play.submit("c")
    look()
    led = play.leader
    play.publish()
    look()
    assert sight.leader(play.state, "publishing") == led != play.leader == sight.leader(play.state, "any")
    others = [uid for uid in ("a", "b", "c") if uid != led]
    play.report(led, others[0])
    look()
    play.report(others[1])
    look()
    assert seen == [[], ["collecting"], ["merging"], ["publishing"], ["distributing"], []]


def test_no_fault_is_injected_before_the_first_round() -> None:
    assert not sight.is_in(Play("a").state, "any")


def test_a_fault_hits_the_site_that_its_target_names() -> None:
    play = Play("a", "b", "c")
    leader = play.leader
    others = [uid for uid in ("a", "b", "c") if uid != leader]
    assert sight.chosen(play.state, fault()) == leader
    assert [sight.chosen(play.state, fault(target="follower", pick=pick)) for pick in (0, 1, 2)] == [*others, others[0]]
    assert [sight.chosen(play.state, fault(target="ml", pick=pick)) for pick in (0, 1, 2)] == ["a", "b", "c"]
    assert sight.chosen(play.state, fault(target="sn")) == ""
    play.complete_round("a", "b", "c")
    (bystander,) = {"a", "b", "c"} - {play.leader, play.result.leader}
    assert {sight.chosen(play.state, fault(target="follower", pick=pick)) for pick in range(4)} == {bystander}


def test_a_swarm_is_whole_when_all_its_sites_are_present_and_awaited() -> None:
    play = Play("a", "b", "c")
    assert sight.is_whole(play.state, 3)
    assert not sight.is_whole(play.state, 4)
    play.set_attendance("b", "ml-lost")
    assert not sight.is_whole(play.state, 3)


def test_a_merge_is_newer_when_it_is_of_a_later_round_or_term() -> None:
    play = Play("a", "b")
    play.complete_round("a", "b")
    first = play.result
    assert sight.is_newer(first, None)
    assert not sight.is_newer(first, first)
    assert not sight.is_newer(None, first)
    play.missing("a", "b")
    play.void()
    play.complete_round("a", "b")
    assert play.result.closed.number == first.closed.number
    assert sight.is_newer(play.result, first)


def test_a_fault_comes_too_late_when_the_leader_has_published() -> None:
    play = Play("a", "b")
    play.submit("a", "b")
    before = play.state
    play.publish()
    assert sight.came_too_late(fault(phase="merging"), before, play.state)
    assert not sight.came_too_late(fault(target="follower", phase="merging"), before, play.state)
    assert sight.came_too_late(fault("freeze", phase="merging"), before, play.state)
    assert not sight.came_too_late(fault("partition", phase="merging"), before, play.state)


def test_the_damaged_model_is_the_one_that_others_need() -> None:
    play = Play("a", "b", "c")
    play.submit("a")
    assert play.state.round is not None
    assert sight.model_of(play.state, "a") == play.state.round.submissions["a"].digest
    assert sight.model_of(play.state, "b") == ""
    play.submit("b", "c")
    play.publish()
    assert sight.model_of(play.state, "a") == play.result.digest
