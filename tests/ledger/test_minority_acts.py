"""No sequence of acts by fewer organisations than a quorum changes who may do what."""

from contextlib import suppress
from copy import copy
from functools import cache
from typing import Any

import msgspec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from support.network import Ledger, anchor, organisation
from swarmlearning.identity.ca import KeyPair, create_authority
from swarmlearning.ledger import bodies
from swarmlearning.ledger.bodies import AdmitOrganisation, Body, CreateContract
from swarmlearning.ledger.contracts import network
from swarmlearning.ledger.contracts.network.policies import TABLE, quorum_of
from swarmlearning.ledger.contracts.rejection import Rejection
from swarmlearning.ledger.contracts.training.state import Training
from swarmlearning.ledger.world import World

NAMES = ("org-1", "org-2", "org-3", "org-4", "org-5")
HOSTILE = ("org-4", "org-5")
CONTRACT = "study"
STEPS = 12


@cache
def authorities() -> dict[str, KeyPair]:
    return {name: create_authority(f"CA of {name}", 3650) for name in (*NAMES, "org-6")}


@cache
def founded() -> Ledger:
    """Five organisations, each with an operator, an SL and an SN, and a contract of the first three."""
    made = Ledger(authorities()["org-1"])
    made.join("op-1", "SWCI")
    for number, name in enumerate(NAMES[1:], 2):
        for signing in range(1, number):
            if network.organisation(made.chain.world, name) is None:
                admitted = AdmitOrganisation(organisation(name, authorities()[name]))
                made.send(f"op-{signing}", admitted, network.CONTRACT)
        made.join(f"op-{number}", "SWCI", authorities()[name])
        made.join(f"sn-{number}", "SN", authorities()[name])
    for number, name in enumerate(NAMES, 1):
        made.join(f"sl-{number}", "SL", authorities()[name])
    made.send("op-1", CreateContract(members=NAMES[:3]), CONTRACT)
    return made


def who_may_do_what(world: World) -> dict[str, Any]:
    """Everything that decides who may do what, of all organisations; of certificates and nodes, of the honest ones."""
    honest = [name for name in NAMES if name not in HOSTILE]
    training = world.get(f"training/{CONTRACT}", Training)
    return {
        "organisations": [each.id for each in network.organisations(world)],
        "authorities": [each for each in network.authorities(world) if each.organisation in honest],
        "policies": {act: quorum_of(world, act) for act in TABLE},
        "rules": network.network(world).rules_version,
        "certificates": [
            (each.thumbprint, each.role, each.revoked)
            for each in world.area("certificate/", network.Certificate)
            if each.organisation in honest
        ],
        "nodes": [
            (each.uid, each.type, each.subject, each.certificate, each.incarnation, each.left, each.addresses)
            for each in network.nodes(world)
            if each.organisation in honest
        ],
        "quarantine": world.area("quarantine/", network.Quarantine),
        "contract": (training.charter, training.run, training.stopping, training.over) if training else None,
    }


def hostile_senders() -> list[str]:
    return [f"{kind}-{number}" for kind in ("op", "sl", "sn") for number in (4, 5)]


def known_values() -> dict[str, list[Any]]:
    """Values by the name of a field: those that mean something on this ledger."""
    world = founded().chain.world
    return {
        "uid": [each.uid for each in network.nodes(world)],
        "organisation": list(NAMES),
        "thumbprint": [
            *(each.thumbprint for each in network.authorities(world)),
            *(each.certificate for each in network.nodes(world)),
        ],
        "act": list(TABLE),
        "proposal": list(range(1, 9)),
        "anchor": [anchor(each) for each in authorities().values()],
        "rules_version": [1, 2, 3],
        "incarnation": [1, 2],
        "lost": [("sn-1",), ("sn-1", "sn-2"), ()],
    }


ACTS: tuple[type[Body], ...] = (
    bodies.AdmitOrganisation,
    bodies.RetireOrganisation,
    bodies.AddAuthority,
    bodies.RetireAuthority,
    bodies.Revoke,
    bodies.SetPolicy,
    bodies.Sign,
    bodies.Reject,
    bodies.SwitchRules,
    bodies.Recover,
    bodies.Stop,
    bodies.Reset,
    bodies.Lost,
    bodies.Back,
    bodies.Leave,
)


def bodies_of(kind: type[Body]) -> st.SearchStrategy[Body]:
    """Bodies of this kind, with any values that their types allow and with those that mean something here."""
    known = known_values()
    fields = {field.name: field for field in msgspec.structs.fields(kind)}
    chosen: dict[str, st.SearchStrategy[Any]] = {}
    for name in fields:
        if name == "organisation" and kind is bodies.AdmitOrganisation:
            new = [organisation(each, authorities()[each]) for each in ("org-6", "org-1")]
            chosen[name] = st.sampled_from(new)
        elif name in known:
            chosen[name] = st.sampled_from(known[name])
    return st.builds(kind, **chosen)


def place_of(body: Body) -> str:
    """The contract that a body is sent to."""
    return CONTRACT if isinstance(body, bodies.Stop | bodies.Reset) else network.CONTRACT


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(st.sampled_from(ACTS).flatmap(bodies_of), max_size=STEPS))
def test_no_acts_that_all_nodes_of_a_minority_send_change_who_may_do_what(acts: list[Body]) -> None:
    origin = founded()
    ledger = copy(origin)
    ledger.actors, ledger.blocks = {uid: copy(actor) for uid, actor in origin.actors.items()}, []
    before = who_may_do_what(ledger.chain.world)
    for body in acts:
        for uid in hostile_senders():
            with suppress(Rejection):
                ledger.send(uid, body, place_of(body))
        after = who_may_do_what(ledger.chain.world)
        gone = set(HOSTILE) - set(after["organisations"])
        after["organisations"] = sorted({*after["organisations"], *gone})  # an organisation may end its own part
        assert after == before, f"{body} was enacted"
