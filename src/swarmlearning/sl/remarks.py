"""Remarks for a site's user on what the ledger shows about merges, each made once.

A model with NaN or infinity is left out and the round goes on; its own user learns it in the training log. Where that
leaves too few models, its ML process can only be ended: the round waits for another model, and it for the round. A
user may also want all training to stop at the first such model (`SL_NON_FINITE=fail`).
"""

from collections.abc import Iterator
from typing import Final, NamedTuple, TypeAlias

from swarmlearning.ledger.bodies import Exclusion, Receipt
from swarmlearning.ledger.contracts.training.state import Result, Training
from swarmlearning.ledger.contracts.training.weighing import coefficients
from swarmlearning.merge.geomedian import majority
from swarmlearning.rounds.settings import OnNonFinite
from swarmlearning.sl.owncheck import Verdict
from swarmlearning.views.names import Names, name_of

NOTHING: Final = Verdict()
"""Nothing was checked."""

_CHECK_HOST: Final = "Check this host's disk and memory, and that its SL is of the same release as the others"


def unreachable_text(address: str, reason: str) -> str:
    """The text for a site whose models others cannot fetch, with what to do."""
    return (
        f"Other sites cannot fetch this site's models from {address}: {reason}. Check that this is this node's address "
        "(--host-ip, --sl-fs-port; --sl-fs-service behind NAT or a proxy) and that firewalls let other SL nodes "
        "connect; where they cannot, start it with --relay, which needs an SN that is a relay (--sn-relay-port)"
    )


class Remark(NamedTuple):
    """A line for people. `own`: about this site, so for its training log too; `fatal`: training ends here."""

    text: str
    own: bool = False
    fatal: bool = False


class Remarks:
    """Looks at each state of one contract for the site `uid`; no remark is made on what `known` shows already."""

    def __init__(self, uid: str, on_non_finite: OnNonFinite, known: Training) -> None:
        self._uid = uid
        self._fail = on_non_finite == "fail"
        self._made: set[tuple[object, ...]] = set()
        self.new(known, {})

    def new(self, state: Training, names: Names, check: Verdict = NOTHING, address: str = "") -> list[Remark]:
        """Returns the remarks that were not returned before.

        `check`: what this site has found of what it has given itself. `address`: where others fetch from this site.
        """
        found: dict[tuple[object, ...], Remark] = dict(_unusable(state, self._uid, check))
        found |= _unreachable(state, self._uid, address)
        if state.result is not None:
            own = _Own(self._uid, check, address)
            found |= _left_out(state, state.result, own, self._fail, names)
            found |= _alone(state, state.result.receipt, names)
        fresh = [remark for key, remark in found.items() if key not in self._made]
        self._made |= found.keys()
        return fresh


_Keyed: TypeAlias = Iterator[tuple[tuple[object, ...], Remark]]


def is_called_unreachable(state: Training, uid: str) -> bool:
    """True if the ledger shows that others could not fetch this site's models."""
    member = state.members.get(uid)
    excluded = state.result.receipt.exclusions if state.result else ()
    return (
        (member is not None and member.unreachable)
        or (state.round is not None and uid in state.round.unreachable)
        or any(entry.uid == uid and entry.reason == "unreachable" for entry in excluded)
    )


class _Own(NamedTuple):
    uid: str
    check: Verdict
    address: str


def _left_out(state: Training, result: Result, own: _Own, fail: bool, names: Names) -> _Keyed:
    number = result.closed.number
    for entry in result.receipt.exclusions:
        mine = entry.uid == own.uid
        ends = fail and entry.reason == "non-finite" and not (mine and not own.check.fault)
        whose = f"the model of {'this site' if mine else name_of(names, entry.uid)} was left out of the merge"
        text = f"Round {number}: {whose}: {entry.why}"
        if mine:
            text += _advice(entry, own)
        if ends:
            text += ". Training ends here, as SL_NON_FINITE=fail requires"
        yield (state.run, number, result.digest, entry.uid), Remark(text, mine, ends)


def _advice(entry: Exclusion, own: _Own) -> str:
    """Advice for a site that was left out, as the end of a sentence."""
    check = own.check
    match entry.reason:
        case "non-finite" | "malformed" | "structure" if check.fault and check.coding:
            return f". Here its coded change is wrong, too: {check.fault}. {_CHECK_HOST}"
        case "non-finite" if check.fault:
            return ". NaN or infinity: check the learning rate and the data"
        case "non-finite" if check.checked:
            return ". Its own check finds all values finite: the node that led the round may be faulty"
        case "malformed" | "structure" if check.checked == "change" and not check.fault:
            return ". Its own check finds nothing wrong with its coded change: those who left it out may be faulty"
        case "malformed":
            return f". It cannot be checked here any more. {_CHECK_HOST}"
        case "unreachable":
            return f". {unreachable_text(own.address, entry.detail)}"
        case _:
            return ""


def _unusable(state: Training, uid: str, check: Verdict) -> _Keyed:
    """The remark on a site without whose model there are too few."""
    if state.round is None or not (barred := state.round.barred.get(uid)):
        return
    number, key = state.round.number, (state.run, barred.digest)
    if check.fault:
        found = f"its coded change is wrong, too: {check.fault}" if check.coding else check.fault
        remedy = f"{_CHECK_HOST}; then start" if check.coding else "Correct the training script and start"
        text = (
            f"Round {number}: the model of this site is unusable ({barred.why}), and without it there are fewer than "
            f"minPeers. Here {found}. {remedy} it again"
        )
        yield key, Remark(text, own=True, fatal=True)
    else:
        sound = {
            "values": "this site's own check finds all its values finite",
            "change": "this site's own check finds nothing wrong with the model, or with the coded change made of it",
            "": "this site cannot check that, since the model is not here any more",
        }
        text = (
            f"Round {number}: the node that led it reports the model of this site as unusable ({barred.why}), but "
            f"{sound[check.checked]}"
        )
        yield key, Remark(text, own=True)


def _unreachable(state: Training, uid: str, address: str) -> _Keyed:
    """The remark on a site whose models others cannot fetch."""
    member = state.members.get(uid)
    if state.round is not None and (uid in state.round.unreachable or (member is not None and member.unreachable)):
        yield (state.run, "unreachable", address), Remark(unreachable_text(address, "nobody could"), own=True)


def _alone(state: Training, receipt: Receipt, names: Names) -> _Keyed:
    """At least half of the weight makes one model the geometric median, whatever the others are."""
    if receipt.method != "geomedian":
        return
    parts = [part for part in receipt.contributions if part.weight]
    weights = coefficients(state, {part.uid: part.weight for part in parts})
    alone = majority([weights[part.uid] for part in parts])
    if len(parts) > 1 and alone is not None:
        uid = parts[alone].uid
        yield (
            (state.run, "alone", uid),
            Remark(
                f"The geometric median is the model of {name_of(names, uid)} alone, which has at least half of the "
                "weight: the other models are without effect. Choose other weights (nodeWeightage), or the method mean",
                own=True,
            ),
        )
