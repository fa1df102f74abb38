"""No sequence of transactions by fewer organisations than a quorum changes who may do what."""

from copy import copy
from datetime import timedelta
from functools import cache
from random import Random
from typing import Any

import pytest

from support.anything import KINDS
from support.crafted_certs import NOON, craft
from support.histories import History
from support.network import CONTRACT, Actor, Ledger, organisation, read, resealed, session
from swarmlearning.identity.ca import KeyPair, create_authority, cross_certificate, issue
from swarmlearning.identity.certificates import to_pem
from swarmlearning.ledger.bodies import AdmitOrganisation, Back, CreateContract, Register
from swarmlearning.ledger.contracts import network
from swarmlearning.ledger.contracts.network.contract import NETWORK
from swarmlearning.ledger.contracts.network.policies import TABLE, quorum_of
from swarmlearning.ledger.contracts.network.watching import counting
from swarmlearning.ledger.contracts.training.state import state_of
from swarmlearning.ledger.world import World

NAMES = ("org-1", "org-2", "org-3", "org-4", "org-5")
HONEST, HOSTILE = NAMES[:3], NAMES[3:]
STUDY, SHARED = "study", "shared"
"""A contract of the honest organisations, and one of all five, in which each has a site."""
STEPS = 80
SEEDS = range(25)
YEARS = timedelta(days=3650)


@cache
def authorities() -> dict[str, KeyPair]:
    """By organisation; `sub-1` is an intermediate authority of the first one, which stands in bundles only."""
    root = craft("CN=CA of org-1", begin=NOON - YEARS, end=NOON + YEARS)
    made = {name: create_authority(f"CA of {name}", 3650) for name in (*NAMES[1:], "org-6")}
    sub = craft("CN=sub-1", root, begin=NOON - YEARS, end=NOON + YEARS)
    return {"org-1": root, **made, "sub-1": sub}


@cache
def founded() -> Ledger:
    """Five organisations with an operator, an SN and an SL each, and another SN of the last one in quarantine."""
    made = Ledger(authorities()["org-1"])
    made.clock = int(authorities()["org-2"].certificate.not_valid_before_utc.timestamp() * 1000) + 600_000
    made.join("op-1", "SWCI")
    for number, name in enumerate(NAMES[1:], 2):
        for signing in range(1, number):
            if network.organisation(made.chain.world, name) is None:
                admitted = AdmitOrganisation(organisation(name, authorities()[name]))
                made.send(f"op-{signing}", admitted, network.CONTRACT)
        made.join(f"op-{number}", "SWCI", authorities()[name])
        made.join(f"sn-{number}", "SN", authorities()[name])
    made.join("sn-6", "SN", authorities()["org-5"])
    made.void("sn-6")
    made.send("op-1", CreateContract(members=HONEST), STUDY)
    made.send("op-1", CreateContract(members=NAMES), SHARED)
    for number, name in enumerate(NAMES, 1):
        made.join(f"sl-{number}", "SL", authorities()[name])
        made.send(f"sl-{number}", session(), SHARED)
    _add_impostors(made)
    return made


def _add_impostors(made: Ledger) -> None:
    """Actors of a hostile organisation that use the UIDs of honest nodes, with equal subjects or certificates that they
    have, and one that has not registered yet."""
    own = authorities()["org-4"]
    for uid in ("sn-1", "sl-1", "op-1"):
        known = made.actors[uid]
        equal = issue(own, f"{known.kind}-{uid}", [], [], 3650, own.certificate.not_valid_before_utc)
        made.actors[f"{uid}, an equal subject"] = Actor(uid, known.kind, equal)
        registered = made.actors[uid.replace("-1", "-4")]
        made.actors[f"{uid}, another's certificate"] = Actor(uid, known.kind, registered.pair)
    made.actor("new-4", "SWCI", own)


def hostile_history(seed: int) -> History:
    """All nodes of two organisations of five, their impostors, and the certificates that they can make."""
    origin, known = founded(), authorities()
    ledger = copy(origin)
    ledger.actors, ledger.blocks = {uid: copy(actor) for uid, actor in origin.actors.items()}, []
    crossed = [
        to_pem(each.certificate) + to_pem(cross_certificate(each.certificate, known["org-4"]))
        for each in (known["org-1"], known["org-2"], known["org-6"], known["sub-1"])
    ]
    pems = [
        *crossed,
        *(pem.partition("-----END CERTIFICATE-----\n")[2] for pem in crossed),  # the cross-certificate alone
        *(to_pem(each.certificate) for each in known.values()),
        *(ledger.actors[f"op-{number}"].pem for number in (1, 2, 4)),
    ]
    honest = {f"{kind}-{number}" for kind in ("op", "sn", "sl") for number in (1, 2, 3)}
    senders = [uid for uid in ledger.actors if uid not in honest]
    issuing = [known[name] for name in HOSTILE]
    return History(
        ledger, Random(seed), senders, issuing, pems, (STUDY, SHARED, CONTRACT, "new"), 0.2, _headers(origin)
    )


def _headers(origin: Ledger) -> list[str]:
    """Headers of blocks by an honest SN, and one for the next height that a hostile SN has signed in its name."""
    sealed = [read(raw) for raw in origin.blocks[-3:]]
    return [
        *(each.signed_header for each in sealed),
        read(resealed(copy(origin), by="sn-1", signer="sn-4")).signed_header,
    ]


def who_may_do_what(world: World) -> dict[str, Any]:
    """Everything that decides who may do what; of nodes, certificates and sessions, those of honest organisations."""
    organisations = network.organisations(world)
    gone = set(HOSTILE).difference(each.id for each in organisations)  # it may end its own part
    return {
        "organisations": {each.id: each for each in organisations} | dict.fromkeys(gone),
        "authorities": [each for each in network.authorities(world) if each.organisation in HONEST],
        "policies": {act: quorum_of(world, act) for act in TABLE},
        "rules": network.network(world).rules_version,
        "certificates": [
            each for each in world.area("certificate/", network.Certificate) if each.organisation in HONEST
        ],
        "nodes": [each for each in network.nodes(world) if each.organisation in HONEST],
        "recoveries": network.recoveries(world),
        "quarantined": world.get("quarantine/sn-6", network.Quarantine),
        "counting": [each.uid for each in counting(world) if each.organisation in HONEST],
        **{name: _of_contract(world, name) for name in (STUDY, SHARED)},
    }


def _of_contract(world: World, name: str) -> tuple[object, ...]:
    state = state_of(world, name)
    sites = [
        (each.uid, each.attendance, each.finished, each.weightage, each.incarnation, each.may_lead)
        for each in state.members.values()
        if each.organisation in HONEST
    ]
    return state.charter, state.run, state.reset_height, state.terms, state.stopping, state.over, sites


def contradict(ledger: Ledger) -> None:
    """The honest SNs, all of which are there, send what they have to."""
    for uid in ("sn-1", "sn-2", "sn-3"):
        live = {each.uid: each.incarnation for each in network.nodes(ledger.chain.world)}
        for proposal in NETWORK.proposals(ledger.chain.world, live, uid):
            if isinstance(proposal.body, Back):
                ledger.send(uid, proposal.body, network.CONTRACT)


def check_newcomer(ledger: Ledger) -> None:
    """A new site of an honest organisation, certified by its intermediate authority, joins as its own."""
    sub = authorities()["sub-1"]
    ledger.actors["sl-new"] = Actor("sl-new", "SL", issue(sub, "SL-new", [], [], 3650, NOON - YEARS / 2))
    bundle = ledger.actors["sl-new"].pem + to_pem(sub.certificate)
    ledger.send("sl-new", Register("SL", "new", bundle, "0"), network.CONTRACT)
    known = network.node(ledger.chain.world, "sl-new")
    assert known is not None
    assert known.organisation == "org-1"


@cache
def played(seed: int) -> History:
    """A history after each step of which what the honest organisations decide is what it was."""
    history = hostile_history(seed)
    ledger = history.ledger
    before = who_may_do_what(ledger.chain.world)
    for _ in range(STEPS):
        body = history.step()
        contradict(ledger)
        after = who_may_do_what(ledger.chain.world)
        for named, found in after["organisations"].items():
            after["organisations"][named] = found or before["organisations"][named]
        assert after == before, f"{body} was enacted"
    return history


@pytest.mark.parametrize("seed", SEEDS)
def test_no_acts_that_all_nodes_of_a_minority_send_change_who_may_do_what(seed: int) -> None:
    check_newcomer(played(seed).ledger)


def test_a_minority_sends_every_kind_of_body() -> None:
    """A kind of body whose values cannot be made up fails in `Anything`."""
    assert {kind for seed in SEEDS for kind in played(seed).sent} == set(KINDS)
