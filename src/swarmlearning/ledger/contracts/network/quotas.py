"""Quotas of organisations, as the ledger judges them: nodes, contracts, tasks; transactions, bytes and entries. Pure.

Rates protect organisations from one another: where only one takes part, none applies. They are in block time, so every
node judges alike. An organisation's SNs report what concerns others, and its operators act where its other nodes have
run wild; so SNs, operators and other nodes have an allowance each, as large as the quota: one does not use up
another's.
"""

from functools import lru_cache

import msgspec

from swarmlearning.ledger.codes import Code
from swarmlearning.ledger.contracts.contract import OPERATORS, TxContext
from swarmlearning.ledger.contracts.network.bodies import Quotas, SetQuotas
from swarmlearning.ledger.contracts.network.state import Certificate, Node, organisation, organisations
from swarmlearning.ledger.contracts.rejection import Rejection
from swarmlearning.ledger.world import World
from swarmlearning.rates import SECOND_US, Rate

BURST_SECONDS = 4
"""A round sends in an instant what its quota allows on average."""
DAY_SECONDS = 24 * 3600
ANNOTATION_BYTES = 512
"""Of all annotations of runs that a quota of tasks allows, on average."""
MOST_ANNOTATION_BYTES = 16 * 1024
"""What one of them may have is always allowed."""


class Usage(msgspec.Struct, frozen=True, omit_defaults=True):
    """When an organisation will have earned what one group of its nodes has used (`rates.py`; microseconds)."""

    transactions_us: int = 0
    bytes_us: int = 0
    entries_us: int = 0


def quotas_of(world: World, named: str) -> Quotas:
    """The quotas of an organisation; the defaults for an unknown one."""
    known = organisation(world, named)
    return known.quotas if known else Quotas()


def limited(world: World) -> bool:
    """True if rates apply: more than one organisation takes part."""
    return len(organisations(world)) > 1


def charge(before: World, after: World, tx: TxContext, size: int) -> World:
    """The world `after` a transaction of so many bytes, in which it is counted. Raises `Rejection`.

    So are the entries that it has added, of which most stay for ever: nodes that have left, contracts, proposals.
    """
    if not limited(before):
        return after
    key, now = _key(tx.signer), 1000 * tx.time_ms
    used, quotas = _usage(before, key), quotas_of(before, tx.signer.organisation)
    counted = Usage(
        _rate(quotas.transactions).after(used.transactions_us, now, 1),
        _rate(quotas.ledger_bytes).after(used.bytes_us, now, size),
        used.entries_us,
    )
    if (added := len(after) - len(before)) > 0:
        rate = Rate(quotas.entries, DAY_SECONDS, DAY_SECONDS)
        if wait := rate.wait_us(used.entries_us, now):
            bound = f"{quotas.entries} new entries of the ledger a day"
            raise Rejection(Code.QUOTA, _exceeded(tx.signer.organisation, bound, wait))
        counted = msgspec.structs.replace(counted, entries_us=rate.after(used.entries_us, now, added))
    return after.with_entries({key: counted})


def refuse_excess(world: World, signer: Certificate, time_ms: int) -> None:
    """Raises `Rejection` if this organisation has used up its transactions, or their bytes, at this block time."""
    used, now = world.get(_key(signer), Usage), 1000 * time_ms
    if used is None or max(used.transactions_us, used.bytes_us) <= now or not limited(world):
        return
    quotas = quotas_of(world, signer.organisation)
    for name, bound, earned_at in (
        ("transactions", quotas.transactions, used.transactions_us),
        ("ledger bytes", quotas.ledger_bytes, used.bytes_us),
    ):
        if wait := _rate(bound).wait_us(earned_at, now):
            raise Rejection(Code.QUOTA, _exceeded(signer.organisation, f"{bound} {name} a second", wait))


def check_nodes(world: World, signer: Certificate) -> None:
    """Raises `Rejection` unless the organisation may have one more node; operators, who end nodes, always may come."""
    own = signer.organisation
    if signer.role in OPERATORS:
        return
    bound = quotas_of(world, own).nodes
    if world.derived("node/", Node, _present).get(own, 0) >= bound:
        raise Rejection(
            Code.TOO_MANY,
            f"organisation {own} has {bound} nodes, its quota of nodes; end one with `swarm node revoke`, or have an "
            "operator propose more with `swarm organisation quotas`",
        )


def check_contracts(world: World, named: str, present: int) -> None:
    """Raises `Rejection` unless an organisation that has so many contracts may have one more."""
    remedy = "use one of them again after `swarm contract reset`"
    _check_number(named, "contracts", quotas_of(world, named).contracts, present, remedy)


def check_tasks(world: World, named: str, present: int) -> None:
    """Raises `Rejection` unless an organisation that has made so many tasks may make one more."""
    _check_number(named, "tasks", quotas_of(world, named).tasks, present, "delete drafts")


def check_taskrunners(world: World, named: str, present: int) -> None:
    """Raises `Rejection` unless an organisation that has created so many taskrunners may create one more."""
    _check_number(named, "taskrunners", quotas_of(world, named).taskrunners, present, "use one of them again")


def check_annotations(world: World, named: str, *, present: int, size: int, more: bool) -> None:
    """Raises `Rejection` unless an organisation may have noted something about one more than `present` runs, and
    `size` bytes about all of them, where that is `more` than before. As many runs as its quota of tasks allows."""
    bound = quotas_of(world, named).tasks
    _check_number(named, "annotated runs", bound, present, "remove an annotation (an empty text, no tags)", "tasks")
    if more and size > bound * ANNOTATION_BYTES + MOST_ANNOTATION_BYTES:
        raise Rejection(
            Code.TOO_MANY,
            f"organisation {named} would have {size} bytes of annotations, and its quota of tasks allows "
            f"{bound * ANNOTATION_BYTES + MOST_ANNOTATION_BYTES}; shorten one, or have an operator propose more with "
            "`swarm organisation quotas`",
        )


def _check_number(named: str, what: str, bound: int, present: int, remedy: str, quota: str = "") -> None:
    if present >= bound:
        raise Rejection(
            Code.TOO_MANY,
            f"organisation {named} has {present} {what}, its quota of {quota or what} is {bound}; {remedy}, or have an "
            "operator propose more with `swarm organisation quotas`",
        )


def set_quotas(world: World, contract: str, body: SetQuotas, tx: TxContext) -> World:
    """An organisation's quotas from now on. Raises `Rejection`."""
    known = organisation(world, body.organisation)
    if known is None or not known.active:
        raise Rejection(Code.UNKNOWN_ORGANISATION, f"no organisation {body.organisation} takes part in this network")
    if known.quotas == body.quotas:
        raise Rejection(Code.NO_CHANGE, f"organisation {known.id} has these quotas already")
    return world.with_entries({f"organisation/{known.id}": msgspec.structs.replace(known, quotas=body.quotas)})


@lru_cache(maxsize=256)
def _rate(per_second: int) -> Rate:
    return Rate(per_second, BURST_SECONDS)


def _usage(world: World, key: str) -> Usage:
    return world.get(key, Usage) or Usage()


def _key(signer: Certificate) -> str:
    group = ".sn" if signer.role == "SN" else ".operators" if signer.role in OPERATORS else ""
    return f"usage/{signer.organisation}{group}"


def _exceeded(named: str, bound: str, wait_us: int) -> str:
    return f"organisation {named} has used its quota of {bound}; try again in {wait_us / SECOND_US:.3g} s"


def _present(known: tuple[Node, ...]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for each in known:
        if not each.left and each.type not in OPERATORS:
            counts[each.organisation] = counts.get(each.organisation, 0) + 1
    return counts
