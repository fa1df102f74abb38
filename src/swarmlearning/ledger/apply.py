"""One transaction applied to the world.

`apply` is the only way the world changes. It is pure: the same world, transaction and block give the same outcome on
every node and at every replay.
"""

from collections.abc import Mapping

from swarmlearning.ledger.access import check_may
from swarmlearning.ledger.admission import check_place, sender_of
from swarmlearning.ledger.codes import Code
from swarmlearning.ledger.contracts.contract import Contract, TxContext
from swarmlearning.ledger.contracts.network.quotas import charge, refuse_excess
from swarmlearning.ledger.contracts.network.replay import use_sequence
from swarmlearning.ledger.contracts.rejection import Rejection
from swarmlearning.ledger.governing import Enacted, govern
from swarmlearning.ledger.rules import Rules
from swarmlearning.ledger.transaction import SignedTransaction
from swarmlearning.ledger.world import World


def apply(
    world: World,
    signed: SignedTransaction,
    rules: Rules,
    *,
    network_id: str,
    height: int,
    time_ms: int,
    hashes: Mapping[int, str],
) -> World:
    """The world after `signed` in a block of this height and time. `hashes` are the recent blocks before it.

    Raises `Rejection`: nothing changed, and why.
    """
    content = signed.content
    found = rules.handlers.get(type(content.body))
    if found is None:
        raise Rejection(Code.RULES_VERSION, f"rules version {rules.version} is in force, which has no {signed.kind}")
    kind, rule = found
    if content.on_behalf_of and not rules.persons:
        raise Rejection(
            Code.RULES_VERSION, f"rules version {rules.version} is in force, under which nobody acts for a person"
        )
    check_place(signed, network_id, height, hashes, rules.limits.window)
    tx = sender_of(world, signed, height, time_ms)
    _check_contract(rules, kind, signed)
    check_may(rule.permission, content.body, tx)
    refuse_excess(world, tx.signer, time_ms)
    after, enacted = govern(world, rules, content.contract, content.body, tx)
    if enacted is not None:
        after = _changed(after, rules, enacted, tx)
    after = use_sequence(after, content.sender, content.incarnation, content.sequence, height)
    return charge(world, after, tx, len(signed.raw))


def _changed(world: World, rules: Rules, enacted: Enacted, tx: TxContext) -> World:
    contract, body = enacted.contract, enacted.body
    tx = tx._replace(on_behalf_of=enacted.on_behalf_of)
    if enacted.by != tx.signer.organisation:
        tx = tx._replace(proposer=enacted.by)
    kind, rule = rules.handlers[type(body)]
    after = rule.change(world, contract, body, tx)
    for change in kind.presence(world, after, body, tx):
        for each in rules.kinds:
            after = each.apply_presence(after, change, tx.time_ms)
    return after


def _check_contract(rules: Rules, kind: Contract, signed: SignedTransaction) -> None:
    name = signed.content.contract
    if kind.single and name != kind.kind:
        raise Rejection(Code.WRONG_CONTRACT, f"{signed.kind} belongs to contract {kind.kind}")
    if not kind.single and any(other.single and other.kind == name for other in rules.kinds):
        raise Rejection(Code.WRONG_CONTRACT, f"{signed.kind} needs the name of a {kind.kind} contract, not {name!r}")
