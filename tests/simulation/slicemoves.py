"""The moves of an adversarial node in rounds that are merged in slices: what it states of slices, true or not."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final

from simulation.ledger import CONTRACT
from simulation.models import name
from simulation.moves import STRANGER, Move, Scene
from simulation.wayback import change_of
from swarmlearning.ledger.bodies import (
    Check,
    Checked,
    Exclusion,
    ExclusionReason,
    Held,
    Reassign,
    ReportFault,
    Sliced,
    StateLink,
    Weigh,
)
from swarmlearning.ledger.contracts.training.recipes import recipe_of
from swarmlearning.ledger.contracts.training.serving import rounds_of
from swarmlearning.ledger.contracts.training.slices import Slicing, roots_of
from swarmlearning.ledger.contracts.training.transfers import back_in
from swarmlearning.ledger.contracts.training.weighing import WHOLE

if TYPE_CHECKING:
    from simulation.swarm import Swarm

REASONS: Final[tuple[ExclusionReason, ...]] = ("unreachable", "too-slow", "non-finite", "structure", "kept-back")
SPEEDS: Final = (0, 1, 10**6, 2**53 - 1)


def merge_truly(scene: Scene) -> Move | None:
    """States what it was to merge, as an honest site would, and serves it or not."""
    return _stated(scene, true=True)


def merge_falsely(scene: Scene) -> Move | None:
    return _stated(scene, true=False)


def _stated(scene: Scene, *, true: bool) -> Move | None:
    slicing = _slicing(scene)
    own = [index for index, each in enumerate(slicing.slices) if scene.uid in each.readers] if slicing else []
    if slicing is None or not (own or scene.dice.random() < 0.1):
        return None
    index = scene.dice.choice(own or range(len(slicing.slices)))
    known = scene.swarm.witness.slices.true_root_of(slicing.recipe, index, scene.uid)
    root = known if true else name("made up slice", scene.uid, str(scene.dice.randrange(3)))
    scene.models.add(root)
    base = next((each.base for each in rounds_of(scene.training) if each.number == slicing.round), "")
    due = not slicing.survey and back_in(scene.training, base) != "float32"
    return CONTRACT, Sliced(slicing.round, slicing.recipe, index, root, change_of(base, root) if due else "")


def hold(scene: Scene) -> Move | None:
    """States that it holds some or all slices, of which it has none."""
    slicing = _slicing(scene)
    known = [index for index, each in enumerate(slicing.slices) if each.root] if slicing else []
    some = [index for index in known if scene.dice.random() < 0.5] or known
    if slicing is None or not some:
        return None
    return CONTRACT, Held(slicing.round, slicing.recipe, tuple(some), roots_of(slicing.slices, some))


def report_fault(scene: Scene) -> Move | None:
    slicing, current = _slicing(scene), scene.round
    if slicing is None or current is None:
        return None
    own = [index for index, each in enumerate(slicing.slices) if each.merger == scene.uid]
    index = scene.dice.choice(own or range(len(slicing.slices)))
    blamed = scene.dice.choice([*sorted(current.submissions), STRANGER])
    fault = Exclusion(blamed, scene.dice.choice(REASONS), "so it says")
    return CONTRACT, ReportFault(slicing.round, slicing.recipe, index, fault)


def reassign(scene: Scene) -> Move | None:
    """Takes slices from their mergers, as leader."""
    slicing, led = _slicing(scene), scene.led()
    if slicing is None or led is None:
        return None
    some = tuple(index for index in range(len(slicing.slices)) if scene.dice.random() < 0.3)
    return CONTRACT, Reassign(led.number, led.term, slicing.recipe, some or (0,))


def weigh(scene: Scene) -> Move | None:
    """States coefficients that follow from nothing, mostly as leader."""
    slicing, current, dice = _slicing(scene), scene.round, scene.dice
    if slicing is None or current is None:
        return None
    recipe = recipe_of(scene.training, current, slicing)
    heavy = dice.randrange(max(1, len(recipe.contributors)))
    shares = tuple(WHOLE * (at == heavy) for at in range(max(1, len(recipe.contributors))))
    return CONTRACT, Weigh(current.number, current.term, slicing.recipe, shares, again=dice.random() < 0.3)


def state_link(scene: Scene) -> Move:
    dice = scene.dice
    return CONTRACT, StateLink(dice.choice(SPEEDS), dice.choice(SPEEDS), dice.random() < 0.8)


def check(scene: Scene) -> Move | None:
    """Says that it checks its part of the standing result, or of another one."""
    checks = scene.training.checks
    return (CONTRACT, Check(checks.round, checks.result)) if checks else None


def find(scene: Scene) -> Move | None:
    """States that it has found all its part right, or wrong, or slices that are not its own."""
    checks, dice = scene.training.checks, scene.dice
    if checks is None:
        return None
    own = sorted(checks.slices_of(scene.uid))
    wrong = dice.choice(((), tuple(own), tuple(own[:1]), (dice.randrange(len(checks.slices)),)))
    return CONTRACT, Checked(checks.round, checks.result, wrong)


def _slicing(scene: Scene) -> Slicing | None:
    """Mostly that of the round in progress."""
    found = scene.training.slicings
    return (found[-1] if scene.dice.random() < 0.9 else scene.dice.choice(found)) if found else None


SLICE_MOVES: Final[Mapping[str, Callable[[Scene], Move | None]]] = {
    "merges a slice": merge_truly,
    "merges a slice falsely": merge_falsely,
    "holds slices": hold,
    "reports a fault in a slice": report_fault,
    "takes slices from others": reassign,
    "states an absurd link": state_link,
    "says that it checks a result": check,
    "states what it has not found": find,
}
SURVEY_MOVES: Final[Mapping[str, Callable[[Scene], Move | None]]] = {"weighs models": weigh}
"""Those of rounds that are merged by the geometric median."""

LED_IN_SLICES: Final = ("takes slices from others", "weighs models")
"""What a node of any kind does as leader, too."""


def slice_moves(swarm: "Swarm") -> Mapping[str, Callable[[Scene], Move | None]]:
    """Returns those that a node has in this swarm."""
    return {**SLICE_MOVES, **SURVEY_MOVES} if swarm.method == "geomedian" else SLICE_MOVES if swarm.sliced else {}
