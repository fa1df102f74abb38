"""One round machine and the checks of results that were merged in slices."""

from dataclasses import replace

from support.play import merged, model
from support.roundnode import SETTINGS, Node
from support.slicing import InSlices, frozen, publish_and_hold
from swarmlearning.ledger.bodies import Check, Checked
from swarmlearning.ledger.contracts.training.slices import UNITS
from swarmlearning.rounds.checks import CheckWanted, Recheck, Rechecked, Uncheckable
from swarmlearning.rounds.events import Action, Cancel, Send, SetTimer, TimerFired
from swarmlearning.rounds.machine import RoundMachine

RESULT = merged(0)


class Checker(Node):
    """The machine of `uid`, which holds its own model and the result of such a round, that stands."""

    def __init__(self, play: InSlices, uid: str = "b", *, always: bool = False, holds: bool = True) -> None:
        super().__init__(play, uid)  # type: ignore[arg-type]
        held = [model(uid, 0), *([RESULT] if holds else [])]
        self.machine = RoundMachine(uid, 1, play.state, replace(SETTINGS, verifies=always), held)
        self.ledger = play

    def of_checks(self, actions: list[Action]) -> list[object]:
        """What it does about checks: what it states, and work that begins or is cancelled."""
        stated = [each.body for each in actions if isinstance(each, Send) and isinstance(each.body, Check | Checked)]
        cancelled = [each for each in actions if isinstance(each, Cancel) and isinstance(each.work, Recheck)]
        return [*stated, *(each for each in actions if isinstance(each, Recheck)), *cancelled]

    def does(self, event: object) -> list[object]:
        return self.of_checks(self.handle(event))  # type: ignore[arg-type]

    def moves_on(self) -> list[object]:
        """The chain is at its newest state."""
        return self.of_checks(self.advance())

    def begins(self) -> Recheck:
        """It is wanted that it checks, and the ledger shows that it does."""
        assert self.does(CheckWanted(RESULT)) == [Check(0, RESULT)]
        self.ledger.send(self.uid, Check(0, RESULT))
        (work,) = self.moves_on()
        assert isinstance(work, Recheck)
        return work


def standing() -> InSlices:
    play = frozen()
    publish_and_hold(play)
    play.report()
    return play


def test_a_node_says_that_it_checks_merges_its_part_again_and_states_what_it_has_found() -> None:
    play = standing()
    node = Checker(play)
    assert node.moves_on() == []
    work = node.begins()
    assert (work.result, work.recipe.round) == (RESULT, 0)
    assert sum(piece.stop - piece.start for piece in work.pieces) == UNITS // 4
    assert play.state.checks is not None
    for piece in work.pieces:
        each = play.state.checks.slices[piece.slice]
        assert each.start <= piece.start < piece.stop <= each.stop
        assert each.merger != "b"
    wrong = (work.pieces[0].slice,)
    assert node.does(Rechecked(RESULT, wrong)) == [Checked(0, RESULT, wrong)]
    play.send("b", Checked(0, RESULT, wrong))
    assert node.moves_on() == []
    assert node.does(CheckWanted(RESULT)) == []


def test_where_the_setting_says_so_every_result_is_checked() -> None:
    assert Checker(standing(), always=True).moves_on() == [Check(0, RESULT)]


def test_a_node_checks_once_it_holds_the_result() -> None:
    play = standing()
    node = Checker(play, holds=False)
    assert node.does(CheckWanted(RESULT)) == [Check(0, RESULT)]
    play.send("b", Check(0, RESULT))
    assert node.moves_on() == []


def test_what_fails_is_tried_again_while_contributions_are_kept() -> None:
    play = standing()
    node = Checker(play)
    work = node.begins()
    assert node.does(Uncheckable(RESULT, "no route")) == []
    (timer,) = [each for each in node.timers if each.timer.subject == f"{RESULT}/check"]
    assert node.does(TimerFired(timer.timer, 0)) == [work]
    assert node.does(Uncheckable(RESULT, "no route")) == []
    play.submit()
    node.moves_on()
    (*_, last) = [each for each in node.timers if each.timer.subject == f"{RESULT}/check"]
    assert isinstance(last, SetTimer)
    assert node.does(TimerFired(last.timer, 0)) == []


def test_a_check_under_way_goes_on_when_the_next_contributors_are_fixed() -> None:
    play = standing()
    node = Checker(play)
    work = node.begins()
    play.submit()
    assert node.moves_on() == []
    assert node.does(Rechecked(RESULT, ())) == [Checked(0, RESULT, ())]
    assert work.pieces


def test_nobody_begins_to_check_what_can_no_longer_be_checked() -> None:
    play = standing()
    node = Checker(play, always=True)
    play.submit()
    assert node.moves_on() == []
    assert node.does(CheckWanted(RESULT)) == []
