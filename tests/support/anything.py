"""Random bodies of every kind for a ledger: of values that mean something on it, and of the extremes of their types."""

import re
from collections.abc import Callable, Sequence
from random import Random
from typing import Any, TypeVar

import msgspec
from msgspec import inspect

from support.network import STRUCTURE
from support.play import receipt_of
from swarmlearning.identity.onetime import public_half
from swarmlearning.ledger.bodies import (
    Anchor,
    Body,
    Exclusion,
    Missing,
    NewOrganisation,
    ReportPerformance,
    Settle,
    Void,
)
from swarmlearning.ledger.chain import RULES_VERSION
from swarmlearning.ledger.contracts import network
from swarmlearning.ledger.contracts.network.policies import TABLE
from swarmlearning.ledger.contracts.network.state import Invitation
from swarmlearning.ledger.contracts.taskrunner import taskrunner
from swarmlearning.ledger.contracts.tasks import lines, tasks
from swarmlearning.ledger.contracts.training.slices import Slicing, roots_of
from swarmlearning.ledger.contracts.training.state import Terms, Training, weight_in
from swarmlearning.ledger.rules import RULES
from swarmlearning.ledger.world import World

_Item = TypeVar("_Item")

KINDS: tuple[type[Body], ...] = tuple(sorted(RULES[RULES_VERSION].handlers, key=lambda kind: kind.__name__))
"""Every body that the rules know, by name."""

OF_THE_RESULT = (ReportPerformance, Missing, Void, Settle)
"""Kinds whose round is that of the standing result."""

ONE_TIME = {public_half(bytes([number]) * 32): bytes([number]) * 32 for number in range(12)}
"""One-time keys of invitations, by their public halves."""

LONG = 0.15
"""Chance that a text or list is as long as its type allows, and that a number is an extreme."""

DECIMAL = "0.7"
"""Where none of the others fits."""

_TEXTS = (
    "",
    "a",
    "0",
    "fs",
    "host:1",
    "[::1]:65535",
    "host:65536",
    "é" * 40,
    "-" * 3,
    "x y",
    "0" * 64,
    "0" * 128,
    "f" * 64,
    STRUCTURE,
    "00000000-0000-4000-8000-000000000000",
    "unknown",
    "nobody",
    "switch-rules",
    "no-such-act",
    "spiffe.test",
    "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
)


class Anything:
    """Random bodies for the world as it stands. `pems` are certificates and bundles, `headers` those of blocks."""

    def __init__(
        self,
        dice: Random,
        world: Callable[[], World],
        pems: Sequence[str],
        wildness: float,
        headers: Sequence[str] = (),
        sizes: Sequence[int] = (),
    ) -> None:
        """`wildness`: the chance that a field has any value of its type, not one that means something here. `sizes`:
        of models, which are small otherwise."""
        self._dice = dice
        self._world = world
        self._pems = pems
        self._headers = headers
        self._sizes = sizes
        self._wildness = wildness

    def body(self, kind: type[Body], contract: str) -> Body:
        """A body of this kind for this contract."""
        known = self._training_values(contract) | self._network_values() | self._task_values(contract)
        if kind in OF_THE_RESULT and known["standing"]:
            known["round"] = known["standing"]
        made: Body = self._struct(kind, known)
        return made

    def _struct(self, kind: type[Any], known: dict[str, list[Any]]) -> Any:
        fields: dict[str, Any] = {}
        for field in inspect.type_info(kind).fields:  # type: ignore[attr-defined]
            meant = [value for value in known.get(field.name, ()) if _is_of(value, field.type)]
            if meant and self._dice.random() >= self._wildness:
                fields[field.name] = self._dice.choice(meant)
            else:
                fields[field.name] = self._value(field.type, known)
        return kind(**fields)

    def _value(self, of: inspect.Type, known: dict[str, list[Any]]) -> Any:
        """Any value that this type allows."""
        match of:
            case inspect.BoolType():
                return self._dice.random() < 0.5
            case inspect.IntType():
                return self._integer(of)
            case inspect.FloatType():
                least = of.ge or 0.0
                found = (least, of.le or 1.0, 0.0, -0.0, 1e-308)
                return self._dice.choice([value for value in found if value >= least])
            case inspect.StrType():
                return self._text(of)
            case inspect.LiteralType():
                return self._dice.choice(of.values)
            case inspect.NoneType():
                return None
            case inspect.UnionType():
                return self._value(self._dice.choice(of.types), known)
            case inspect.VarTupleType():
                return self._tuple(of, known)
            case inspect.DictType():
                count = self._dice.choice((0, 1, 2, 9))
                return {self._value(of.key_type, known): self._value(of.value_type, known) for _ in range(count)}
            case inspect.StructType():
                return self._struct(of.cls, known)
        raise AssertionError(f"no values of {of}: a new type of field needs some here")

    def _integer(self, of: inspect.IntType) -> int:
        low = of.ge if of.ge is not None else -(2**63)
        high = of.le if of.le is not None else of.lt - 1 if of.lt is not None else 2**63 - 1
        few = self._dice.randint(int(max(low, 0)), int(min(high, 8)))
        return self._dice.choice((int(low), int(high))) if self._dice.random() < LONG else few

    def _text(self, of: inspect.StrType) -> str:
        most = of.max_length if of.max_length is not None else 1000
        longest = [text * most for text in ("a", "0", "é", "\U0001f600")] if self._dice.random() < LONG else []
        for text in self._shuffled((*longest, *_TEXTS)):
            if len(text) <= most and re.search(of.pattern or "", text):
                return text
        if re.search(of.pattern or "", DECIMAL):
            return DECIMAL
        raise AssertionError(f"no text for {of.pattern}: a new pattern needs one in _TEXTS")

    def _tuple(self, of: inspect.VarTupleType, known: dict[str, list[Any]]) -> tuple[Any, ...]:
        least, most = of.min_length or 0, min(of.max_length or 40, 40)
        count = most if self._dice.random() < LONG / 3 else self._dice.randint(least, 3)
        items = [self._value(of.item_type, known) for _ in range(count)]
        return tuple(items + items[: self._dice.randint(0, 1)][: most - count])  # one of them twice, now and then

    # --- values that mean something -----------------------------------------------------------------------------------

    def _network_values(self) -> dict[str, list[Any]]:
        world, some = self._world(), self._some
        known = network.nodes(world)
        uids = [each.uid for each in known]
        organisations = [each.id for each in world.area("organisation/", network.Organisation)]
        sns = [each.uid for each in known if each.type == "SN"]
        return {
            "uid": uids,
            "organisation": [*organisations, *self._admissible(organisations)],
            "thumbprint": [
                *(each.thumbprint for each in world.area("authority/", network.Authority)),
                *(each.certificate for each in known),
            ],
            "act": list(TABLE),
            "proposal": [each.number for each in network.proposals(world)],
            "id": ["org-9", *organisations],
            "anchor": [Anchor(pem) for pem in self._pems],
            "certificate": list(self._pems),
            "first": list(self._headers),
            "second": list(self._headers),
            "rules_version": [RULES_VERSION, RULES_VERSION + 1],
            "key": [each.key for each in world.area("invitation/", Invitation)] or list(ONE_TIME),
            "role": [None, "SL"],
            "height": [each.height for each in world.area("quarantine/", network.Quarantine)],
            "lost": [some(sns) for _ in range(3)],
            "incarnation": [1, *{each.incarnation for each in known}],
            "addresses": [{"fs": "host:1"}, {"api": "host:2", "p2p": "host:3"}],
            "members": [(), some(organisations)],
            "observers": [(), some(organisations)],
        }

    def _task_values(self, contract: str) -> dict[str, list[Any]]:
        world = self._world()
        named = [each.name for each in tasks(world)]
        runner = taskrunner(world, contract)
        assignment = runner.assignment if runner else None
        ready = [each.name for each in tasks(world) if each.final and each.type != "ROOT_TASK"]
        return {
            "prerequisite": named,
            "task": [assignment.task] if assignment else ready,
            "swop": [each.uid for each in network.nodes(world) if each.type == "SWOP"],
            "index": [len(lines(world, contract)) + 1],
            "peers": [0, 1, 2],
            "serial": [runner.serial] if runner and runner.serial else [],
            "attempt": [1, 1, 2],
        }

    def _admissible(self, known: Sequence[str]) -> list[NewOrganisation]:
        roots = self._world().area("authority/", network.Authority)
        own = {named: [Anchor(root.pem) for root in roots if root.organisation == named] for named in known}
        own["org-9"] = [Anchor(self._pems[0])]
        return [NewOrganisation(named, named, tuple(anchors[:8])) for named, anchors in own.items() if anchors]

    def _training_values(self, contract: str) -> dict[str, list[Any]]:
        state = self._world().get(f"training/{contract}", Training)
        members = sorted(state.members) if state else []
        current = state.round if state else None
        result = state.result if state else None
        method = state.charter.merge_method if state and state.charter else None
        terms = state.terms if state and state.terms else Terms(method or "mean", 2, STRUCTURE)
        values: dict[str, list[Any]] = {
            **{name: [getattr(terms, name)] for name in Terms.__struct_fields__},
            "may_lead": [True],
            "weightage": [1],
            "samples": [100],
            "weights": ["own", "own", "equal", "samples"],
            "min_organisations": [0],
            "stragglers": [self._some(members)],
            "reached": [self._some(members)],
            "standing": [result.closed.number] if result else [],
            "digest": [f"{number:x}" * 64 for number in range(4)],
            "result": ["9" * 64],
            "run": [state.run] if members and state else [],
        }
        if state is not None and current is not None:
            whole = msgspec.structs.replace(receipt_of(current, {}), method=terms.merge_method)
            left_out = receipt_of(current, dict.fromkeys(self._some(sorted(current.submissions)), "unreachable"))
            doubled = msgspec.structs.replace(whole, contributions=whole.contributions * 2)
            values["round"] = [current.number]
            values["term"] = [current.term]
            values["base"] = [current.base]
            values["receipt"] = [whole, whole, whole, left_out, doubled]
            values["weight"] = sorted({weight_in(current, each, "trained") for each in state.members.values()})
        if self._sizes:
            values["size"] = list(self._sizes)
        if state is not None and state.checks is not None:
            values["wrong"] = [(), tuple(sorted(state.checks.slices_of(self._dice.choice(sorted(state.members)))))]
        if state is not None and state.slicings:
            values |= self._slice_values(state, state.slicings[-1])
        return values

    def _slice_values(self, state: Training, slicing: Slicing) -> dict[str, list[Any]]:
        """What may be stated of a round's slices; of every slice the same digest."""
        count = len(slicing.slices)
        open_ones = [index for index, each in enumerate(slicing.slices) if not each.holders] or [0]
        some = self._some(range(count))[:128] or (0,)
        merged = tuple(index for index in some if slicing.slices[index].root) or some
        return {
            "recipe": [slicing.recipe],
            "slice": open_ones,
            "slices": [merged, merged, tuple(open_ones[:2])],
            "root": ["7" * 64, "7" * 64, "8" * 64],
            "roots": [roots_of(slicing.slices, merged)],
            "exclusion": [
                Exclusion(uid, reason, "") for uid in state.members for reason in ("unreachable", "non-finite")
            ],
        }

    def _height(self, uid: str) -> int:
        return network.last_height(self._world(), uid)

    def _some(self, of: Sequence[_Item]) -> tuple[_Item, ...]:
        return tuple(each for each in of if self._dice.random() < 0.4)

    def _shuffled(self, of: Sequence[_Item]) -> list[_Item]:
        return self._dice.sample(of, len(of))


def _is_of(value: Any, of: inspect.Type) -> bool:
    """True unless one of both is a structure and the other is not: fields of one name differ in that only."""
    return isinstance(value, msgspec.Struct) == isinstance(of, inspect.StructType)


def place_of(kind: type[Body], contract: str) -> str:
    """The contract to which bodies of this kind are sent: the network's, or this one."""
    owner, _ = RULES[max(RULES)].handlers[kind]
    return owner.kind if owner.single else contract
