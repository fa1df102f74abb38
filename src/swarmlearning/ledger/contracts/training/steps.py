"""Outer steps on the ledger: with which sessions they are sound, when one is due, and which momentum a model has. Pure.

With an outer optimizer the result of a round is not what was merged, but what one step from the round's base towards
that gives. `Publish` states all three: the result, from which training goes on and which is the next base; the merge,
from which everybody who has base and momentum makes the result; and the momentum after the step. `Training.steps` has
the last two by the digest of the result, for the standing result and for the base, to which a void one leads back.

There is no step without a base (round 0, or where the base is lost), and none where the result is the base unchanged:
then its momentum stays what it was. A base without a step has no momentum: the next step is a first one.
"""

import msgspec

from swarmlearning.choices import CheckinMode
from swarmlearning.ledger.codes import Code
from swarmlearning.ledger.contracts.rejection import Rejection
from swarmlearning.ledger.contracts.training.bodies import OpenSession, Publish
from swarmlearning.ledger.contracts.training.outer import Step, TakenStep
from swarmlearning.ledger.contracts.training.state import Round, Training

NO_STEP = Step("0" * 64)


def check_session(body: OpenSession) -> None:
    """Raises `Rejection` for a session that does not go together with its outer optimizer."""
    if body.outer is None:
        return
    if body.adaptive:
        raise Rejection(
            Code.UNSOUND,
            "useAdaptiveSync cannot be used with an outerOptimizer: one momentum would mix changes of intervals that "
            "differ by up to 16 times; use a fixed syncFrequency",
        )
    _check_checkin(body.checkin)


def check_close(state: Training, checkin: CheckinMode) -> None:
    """The same for a session that is closed in this check-in mode."""
    if state.terms is not None and state.terms.outer is not None:
        _check_checkin(checkin)


def _check_checkin(checkin: CheckinMode) -> None:
    if checkin == "snapshot":
        raise Rejection(
            Code.UNSOUND,
            "checkinModelOnTrainEnd snapshot cannot be used with an outerOptimizer: the momentum would take the others "
            "back to the snapshot with several times its weight; use inactive or active",
        )


def takes_steps(state: Training, current: Round) -> bool:
    """True if what is merged in this round is not its result, but stepped towards, unless it is the base."""
    return state.terms is not None and state.terms.outer is not None and bool(current.base)


def is_due(state: Training, current: Round, result: str) -> bool:
    """True if this result of the round has to be made by an outer step."""
    return takes_steps(state, current) and current.base != result


def check_step(state: Training, current: Round, body: Publish) -> None:
    """Raises `Rejection` unless a step is stated where one is due, and only there."""
    step = body.step
    if is_due(state, current, body.result) != (step is not None):
        due = "is due" if step is None else "is none"
        raise Rejection(Code.WRONG_STEP, f"round {current.number}: there {due} to be an outer step to this result")
    if step is None:
        return
    if step.fault and (step.momentum or step.merged != body.result):
        raise Rejection(Code.WRONG_STEP, "where a step is not finite the merge stands, and there is no momentum")
    if not step.fault and not step.momentum:
        raise Rejection(Code.WRONG_STEP, "an outer step leaves a momentum")


def with_steps(state: Training, result: str = "", step: Step | None = None) -> Training:
    """The state with the step that has made this result, and without those that are of no use any more."""
    models = {state.result.digest, state.result.closed.base} if state.result else set()
    models |= {state.round.base} if state.round else set()
    kept = tuple(each for each in state.taken if each.result in models and each.result != result)
    if result in models and (known := step or state.steps.get(result)):
        kept = (*kept, TakenStep(result, known))
    return state if kept == state.taken else msgspec.structs.replace(state, taken=kept)


def momentum_of(state: Training, model: str) -> str:
    """The digest of the momentum that belongs to this result; empty where it has none."""
    return state.steps.get(model, NO_STEP).momentum


def companions(state: Training, model: str) -> set[str]:
    """What belongs to this result, besides itself: who holds it has its momentum, too."""
    return {momentum_of(state, model)} - {""}


def made_of(step: Step | None) -> set[str]:
    """What was merged, and the momentum that the step has left."""
    return set() if step is None else {step.merged, step.momentum} - {""}


def made_by_steps(state: Training) -> set[str]:
    """All that was merged for the results that the state knows, and their momenta."""
    return set[str]().union(*map(made_of, state.steps.values()))
