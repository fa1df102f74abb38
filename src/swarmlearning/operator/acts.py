"""An operator's acts: what a person names, looked up in the verified world, becomes the transaction to send.

Pure. Whether the operator may is for the ledger to decide; here it is only made sure that the act means something.
"""

from collections.abc import Iterable
from fractions import Fraction
from typing import NamedTuple, TypeVar

import msgspec
from cryptography import x509

from swarmlearning import outer
from swarmlearning.errors import UserError
from swarmlearning.identity.certificates import authority_of, expires_ms, subject_of, thumbprint, to_pem
from swarmlearning.ledger.bodies import Body, ChangeMembers, CreateContract, LiftQuarantine, Reset, Revoke, Stop
from swarmlearning.ledger.contracts import network
from swarmlearning.ledger.contracts.network import Node
from swarmlearning.ledger.contracts.network.bodies import MAX_UNUSED
from swarmlearning.ledger.contracts.network.policies import TAKE_PART, quorum_of
from swarmlearning.ledger.contracts.network.revoking import is_revoked
from swarmlearning.ledger.contracts.training.charter import may_be_created
from swarmlearning.ledger.contracts.training.outer import OuterOptimizer
from swarmlearning.ledger.contracts.training.state import Training
from swarmlearning.ledger.contracts.training.weighing import THOUSANDTHS
from swarmlearning.ledger.fields import Digest, Name, OrganisationId
from swarmlearning.ledger.world import World
from swarmlearning.views.names import displayed

SHORTEST_PREFIX = 6
"""Digits of a UID or thumbprint that are enough to name it."""


MOST_LISTED = 16
"""Nodes that an error lists."""


OUTER_WORDS = 3
"""Words of an outer optimizer at most: its name, learning rate and momentum."""
LONGEST_FAULT = 300

B = TypeVar("B", bound=msgspec.Struct)


class ActError(UserError):
    """An operator named something that does not exist, is ambiguous, or cannot be acted on; lists what exists."""


class Act(msgspec.Struct, frozen=True):
    """A transaction to send to `contract`, and the sentence that reports its success."""

    contract: str
    body: Body
    done: str


def reset_contract(world: World, name: str, *, forced: bool) -> Act:
    """Empties a training contract for its next run; `forced` while its training is not over. Raises `ActError`."""
    state = training(world, name)
    if state.members and not state.over and not forced:
        raise ActError(
            f"training of contract {displayed(name)} is not over; wait for its end, or end it with --force: "
            "its scripts then fail, and what they have trained since the last merged model is lost"
        )
    return Act(name, Reset(forced), f"contract {displayed(name)} is empty; run {state.run + 1} may begin")


def create_contract(world: World, name: str, created: CreateContract) -> Act:
    """Creates a training contract. Raises `ActError`."""
    if any(state.name == name and not may_be_created(world, state) for state in trainings(world)):
        raise ActError(
            f"there is a contract {displayed(name)} already; see `swarm contract show`. Its owner can create it anew "
            "after `swarm contract reset`"
        )
    check_ids((*created.members, *created.observers))
    _check_form(name, created)
    return Act(name, created, f"contract {displayed(name)} is created, for {_participants(world, created)}")


class Changes(NamedTuple):
    """Organisations to add to a contract and to remove from it; None: whether observers read results stays as it is."""

    members: tuple[str, ...] = ()
    observers: tuple[str, ...] = ()
    without: tuple[str, ...] = ()
    observers_read_results: bool | None = None


def change_contract(world: World, name: str, changes: Changes) -> Act:
    """Changes who takes part in a contract. Raises `ActError`."""
    charter = training(world, name).charter
    if charter is None:
        raise ActError(f"nobody owns contract {displayed(name)}: it is open to every organisation")
    check_ids((*changes.members, *changes.observers, *changes.without))
    absent = set(changes.without).difference((*charter.members, *charter.observers))
    if absent:
        raise ActError(
            f"{', '.join(sorted(absent))} cannot be removed: the contract names {_named(charter.members)} as members, "
            f"and {_named(charter.observers)} as observers"
        )
    members = {*charter.members, *changes.members}.difference(changes.without)
    if charter.members and not members:
        raise ActError("a contract without members would be open to every organisation; add another member first")
    observers = {*charter.observers, *changes.observers}.difference(changes.without)
    read = charter.observers_read_results if changes.observers_read_results is None else changes.observers_read_results
    body = ChangeMembers(tuple(sorted(members)), tuple(sorted(observers)), read)
    done = f"contract {displayed(name)} is for {_named(body.members)}; observers: {_named(body.observers)}"
    return Act(name, body, done)


def _named(organisations: Iterable[str]) -> str:
    return ", ".join(organisations) or "nobody"


def check_ids(named: Iterable[str]) -> None:
    """Raises `ActError` for a name that no organisation can have."""
    for each in named:
        if not _is(OrganisationId, each):
            raise ActError(
                f"{displayed(each)!r} is no ID of an organisation: up to 40 lower-case letters (a-z), digits and "
                "hyphens, such as hospital-a; `swarm organisation list` shows those there are"
            )


def _check_form(name: str, created: CreateContract) -> None:
    if not _is(Name, name):
        raise ActError(
            f"contract {displayed(name)!r} cannot be created: a name has 1 to 160 characters, none of them invisible "
            "or a line break"
        )
    if created.structure and not _is(Digest, created.structure):
        raise ActError(
            f"contract {displayed(name)} cannot be created: --structure takes the 64 hexadecimal digits that an SL "
            f"logs as 'Model structure', not {displayed(created.structure)!r}"
        )
    try:
        msgspec.convert(msgspec.to_builtins(created), CreateContract)
    except msgspec.ValidationError as error:
        raise ActError(f"contract {displayed(name)} cannot be created: {error}") from None


def checked(body: B) -> B:
    """The body, if each of its fields has the form that the ledger demands. Raises `ActError`."""
    try:
        return msgspec.convert(msgspec.to_builtins(body), type(body))
    except msgspec.ValidationError as error:
        raise ActError(f"this cannot stand on the ledger: {displayed(str(error), LONGEST_FAULT)}") from None


def _is(form: object, text: str) -> bool:
    """True if the text has the form of such a field of the ledger."""
    try:
        msgspec.convert(text, form)
    except msgspec.ValidationError:
        return False
    return True


def _participants(world: World, created: CreateContract) -> str:
    """Those who may train under a new contract."""
    if created.members:
        return ", ".join(created.members)
    if quorum_of(world, TAKE_PART) != "own":
        return "every organisation"
    return f"its owner alone (policy {TAKE_PART} is own): name members with --member to let others train"


def outer_optimizer(text: str) -> OuterOptimizer | None:
    """An outer optimizer such as `nesterov` or `adam 0.01 0.9` as the ledger has it; None for an empty text. Learning
    rate and momentum are its default ones where none are given. Raises `ActError`."""
    if not (words := text.split()):
        return None
    method = next((each for each in outer.METHODS if each == words[0]), None)
    if method is None or len(words) > OUTER_WORDS:
        raise ActError(
            f"--outer-optimizer {displayed(text)!r} is none; give nesterov or adam, and after it, if you like, "
            "learning rate and momentum, such as 'nesterov 0.7 0.9'"
        )
    rate, momentum = (*words[1:], *outer.DEFAULTS[method][len(words) - 1 :])
    try:
        return OuterOptimizer(method, outer.rate(rate), outer.momentum(momentum))
    except ValueError as error:
        raise ActError(f"--outer-optimizer {displayed(text)!r}: each number is {displayed(str(error), 200)}") from None


def thousandths(share: str) -> int:
    """A share such as `0.5` as the ledger has it; 0 for an empty text: no limit. Raises `ActError`."""
    if not share:
        return 0
    try:
        found = Fraction(share) * THOUSANDTHS
    except (ValueError, ZeroDivisionError):
        raise ActError(
            f"--max-organisation-weight {displayed(share)!r} is no number; give a share such as 0.5"
        ) from None
    if not 1 <= found <= THOUSANDTHS or found.denominator != 1:
        raise ActError(
            f"--max-organisation-weight has to be from 0.001 to 1, with three decimals at most, not {displayed(share)}"
        )
    return int(found)


def stop_contract(world: World, name: str) -> Act:
    """Ends a training with the result of the round in progress. Raises `ActError`."""
    state = training(world, name)
    if state.over or state.stopping:
        raise ActError(f"training of contract {displayed(name)} is {'over' if state.over else 'stopping'} already")
    ends = (
        f"training of contract {displayed(name)} ends with the round in progress; should too few sites be left for it, "
        "reset the contract with --force"
    )
    return Act(name, Stop(), ends)


def revoke_node(world: World, named: str) -> Act:
    """Revokes the certificates of a node, named by its name or the beginning of its UID. Raises `ActError`.

    Several nodes may share an identity: all of them are shut out.
    """
    found = node(world, named)
    stored = network.certificate(world, found.certificate)
    if stored is None or stored.revoked:
        raise ActError(f"the certificate of {displayed(found.name)} is revoked already")
    shut_out = sharing(world, found)
    names = ", ".join(displayed(each.name) for each in shut_out)
    return Act(network.CONTRACT, Revoke(found.certificate), f"{displayed(stored.subject)} is revoked: {names}")


def revoke_certificates(
    world: World, certificates: Iterable[x509.Certificate], authority: x509.Certificate, named: str, now_ms: int
) -> Act:
    """Revokes the identity of a node for which this authority of an organisation has issued these certificates.

    Those that no node has used yet are refused from then on, unless they have expired. Raises `ActError`.
    """
    issued = {thumbprint(each): each for each in certificates if expires_ms([each]) > now_ms}
    known = [each for each in (network.certificate(world, thumb) for thumb in sorted(issued)) if each]
    trusted = [each for each in known if not each.revoked]
    owner = _owner(world, authority)
    new = [each for thumb, each in sorted(issued.items()) if not network.certificate(world, thumb)]
    unused = [each for each in new if not is_revoked(world, owner, thumbprint(each))]
    if not trusted and not unused:
        raise ActError(f"the certificates of {named} have expired, or are revoked on the ledger already")
    revoked = trusted[0].thumbprint if trusted else thumbprint(unused[0])
    body = Revoke(revoked, owner if unused else "", tuple(to_pem(each) for each in unused[:MAX_UNUSED]))
    left = len(unused) - len(body.unused)
    more = f"; {left} more certificates are left: repeat the command" if left else ""
    return Act(network.CONTRACT, body, f"{displayed(subject_of(issued[revoked]))} is revoked{more}")


def _owner(world: World, authority: x509.Certificate) -> str:
    """The organisation whose authority this is. Raises `ActError`."""
    for each in network.authorities(world):
        if each.identity == authority_of(authority):
            return each.organisation
    raise ActError(
        f"the CA {displayed(subject_of(authority))} is no authority of this network (swarm trust list): it has "
        "no certificate there that could be revoked"
    )


def lift_quarantine(world: World, named: str) -> Act:
    """Lets an SN in quarantine seal and vote again. Raises `ActError`."""
    found = node(world, named)
    entry = network.quarantine(world, found)
    if entry is None:
        raise ActError(f"{displayed(found.name)} is not in quarantine")
    lifted = f"SN {displayed(found.name)} may seal and vote again"
    return Act(network.CONTRACT, LiftQuarantine(found.uid, entry.height), lifted)


# --- looking up -----------------------------------------------------------------------------------------------------


def trainings(world: World) -> list[Training]:
    """All training contracts, by name."""
    return list(world.area("training/", Training))


def training(world: World, name: str) -> Training:
    """The training contract of this name. Raises `ActError`."""
    found = {state.name: state for state in trainings(world)}
    if name not in found:
        raise ActError(f"there is no training contract {displayed(name)!r}; there is {_listed(found)}")
    return found[name]


def node(world: World, named: str) -> Node:
    """The registered node of this name or UID (or the beginning of one). Raises `ActError`.

    A name is free text: one that is another node's UID, or begins one, names nobody else in its place.
    """
    known = {each.uid: each for each in network.nodes(world)}
    if named in known:
        return known[named]
    found = [each for each in known.values() if each.name == named]
    if not found:
        return known[by_prefix(named, known, "node", "UID", "swarm node list")]
    if len(named) >= SHORTEST_PREFIX:
        found += [each for each in known.values() if each.uid.startswith(named) and each not in found]
    if len(found) > 1:
        listed = ", ".join(f"{each.uid} of {each.organisation}" for each in found[:MOST_LISTED])
        more = f" and {len(found) - MOST_LISTED} more" if len(found) > MOST_LISTED else ""
        raise ActError(f"{len(found)} nodes are called {displayed(named)!r}; name one by its UID: {listed}{more}")
    return found[0]


def sharing(world: World, found: Node) -> list[Node]:
    """The nodes of the same identity, this one among them."""
    own = (found.organisation, found.subject)
    return [each for each in network.nodes(world) if (each.organisation, each.subject) == own]


def by_prefix(named: str, known: Iterable[str], kind: str, key: str, where: str) -> str:
    """The one of `known` that begins with `named`, which is long enough. Raises `ActError`.

    `kind` is what they are, `key` what they begin with, `where` the command that lists them.
    """
    found = [each for each in known if each.startswith(named)] if len(named) >= SHORTEST_PREFIX else []
    if len(found) != 1:
        amount = "no" if not found else "more than one"
        raise ActError(
            f"there is {amount} {kind} {displayed(named)!r}; `{where}` shows them, the first {SHORTEST_PREFIX} "
            f"characters of a {key} are enough if they are unique"
        )
    return found[0]


def _listed(names: Iterable[str]) -> str:
    return ", ".join(displayed(name) for name in names) or "none yet"
