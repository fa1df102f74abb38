"""The moments of a training, as the ledger shows them, at which a fault can strike. Pure.

The phases of a round, as far as the ledger distinguishes them:

    collecting     somebody's model is in, others are awaited
    merging        the contributors are fixed, the leader merges
    publishing     the result is on the ledger, its leader alone has reported that it holds it
    distributing   others hold it too, but not everybody

In the last two the leader is that of the result, for the next round has a leader of its own already.
"""

from swarmlearning.cli.chaos.plan import Fault, Phase
from swarmlearning.ledger.contracts.training.state import Result, Training


def is_in(state: Training, phase: Phase) -> bool:
    """True when a round is in that phase now, with a leader that could be hit."""
    current, result = state.round, state.result
    if current is None or not current.leader:
        return False
    there = {uid for uid, member in state.members.items() if member.present}
    held = there & set(result.holders) if result else set()
    match phase:
        case "any":
            return True
        case "collecting":
            return bool(current.submissions) and current.phase == "collecting"
        case "merging":
            return current.phase == "frozen"
        case "publishing":
            return result is not None and held == {result.leader} and len(there) > 1
        case "distributing":
            return result is not None and result.leader in held and 1 < len(held) < len(there)


def is_whole(state: Training, sites: int) -> bool:
    """True when all sites take part again: present, with their scripts, and awaited."""
    return len(state.members) == sites and all(member.present and member.awaited for member in state.members.values())


def leader(state: Training, phase: Phase) -> str:
    """UID of the leader of a round in that phase."""
    if phase in ("publishing", "distributing") and state.result:
        return state.result.leader
    return state.round.leader if state.round else ""


def chosen(state: Training, fault: Fault) -> str:
    """UID of the member to hit; empty where the fault does not concern one.

    A follower has not led the last round either, whose result perhaps nobody else holds yet.
    """
    leading = leader(state, fault.phase)
    if fault.target == "sn":
        return ""
    if fault.target == "leader":
        return leading
    members = sorted(state.members)
    others = [uid for uid in members if uid != leading]
    followers = [uid for uid in others if state.result is None or uid != state.result.leader]
    candidates = members if fault.target == "ml" else followers or others
    return candidates[fault.pick % len(candidates)]


def model_of(state: Training, uid: str) -> str:
    """Digest of that member's model which the others need now: its own for the round, else the result."""
    if state.round and state.round.phase == "collecting" and uid in state.round.submissions:
        return state.round.submissions[uid].digest
    return state.result.digest if state.result else ""


def is_newer(result: Result | None, before: Result | None) -> bool:
    """True when a merge has been published since; also when a void one was merged again."""
    return result is not None and (before is None or _merge(result) != _merge(before))


def came_too_late(fault: Fault, before: Training, after: Training) -> bool:
    """True when the leader that was to be stopped before it publishes has published just before."""
    current, result = before.round, after.result
    if fault.target != "leader" or fault.kind not in ("kill", "freeze") or fault.phase not in ("collecting", "merging"):
        return False
    return (
        current is not None
        and result is not None
        and (result.closed.number, result.closed.term) == (current.number, current.term)
    )


def _merge(result: Result) -> tuple[int, int, str]:
    return result.closed.number, result.closed.term, result.digest
