"""Policies and proposals: whose signatures an act needs, row by row, and what becomes of one that lacks some."""

from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.network import Ledger, anchor, organisation, session
from swarmlearning.identity.ca import create_authority
from swarmlearning.identity.certificates import thumbprint
from swarmlearning.ledger.bodies import (
    AddAuthority,
    AdmitOrganisation,
    Anchor,
    Body,
    NewOrganisation,
    Quorum,
    Reject,
    Reset,
    RetireAuthority,
    RetireOrganisation,
    Revoke,
    SetPolicy,
    Sign,
    SwitchRules,
)
from swarmlearning.ledger.contracts import network
from swarmlearning.ledger.contracts.network import Proposal
from swarmlearning.ledger.contracts.network.policies import DEFAULTS, suffices
from swarmlearning.ledger.contracts.rejection import Rejection
from swarmlearning.ledger.governing import MOST_OPEN, PROPOSAL_MS
from swarmlearning.ledger.rules import RULES

NETWORK = network.CONTRACT
AUTHORITIES = {f"org-{number}": create_authority(f"CA-{number}", 3650) for number in (1, 2, 3)}
SPARE = create_authority("CA-9", 3650)
OPERATORS = {"org-1": "op-1", "org-2": "op-2", "org-3": "op-3"}


def three() -> Ledger:
    """Three organisations, each with an operator; the SNs are the first one's, and each has an SL."""
    made = Ledger(AUTHORITIES["org-1"])
    for number, (name, authority) in enumerate(AUTHORITIES.items(), 1):
        if number > 1:
            for signing in range(1, number):
                if name not in [each.id for each in network.organisations(made.chain.world)]:
                    made.send(f"op-{signing}", AdmitOrganisation(organisation(name, authority)), NETWORK)
        made.join(f"op-{number}", "SWCI", authority)
        made.join(f"sl-{number}", "SL", authority)
    made.join("sn-2", "SN", AUTHORITIES["org-2"])
    return made


@pytest.fixture
def ledger() -> Ledger:
    return three()


def newest(ledger: Ledger) -> Proposal:
    return network.proposals(ledger.chain.world)[-1]


def active(ledger: Ledger) -> list[str]:
    return [each.id for each in network.organisations(ledger.chain.world)]


def send(ledger: Ledger, uid: str, body: Body) -> None:
    ledger.send(uid, body, NETWORK)


# --- the table ------------------------------------------------------------------------------------------------------

# Of three organisations: how many have to sign; whose alone is enough.
NEEDS: dict[str, tuple[int, str]] = {
    "AdmitOrganisation": (2, ""),
    "RetireOrganisation": (2, "its own"),
    "AddAuthority": (2, "its own for a successor"),
    "RetireAuthority": (2, "its own"),
    "Revoke": (2, "its own"),
    "SwitchRules": (2, ""),
    "SetPolicy": (2, ""),
    "CreateContract": (1, ""),
    "Stop": (2, "its owner"),
    "Reset": (2, "its owner"),
}


def test_each_act_has_a_row_in_the_table() -> None:
    acts = {body.__name__: rule.act for body, (_, rule) in RULES[1].handlers.items() if rule.act}
    assert acts.keys() == NEEDS.keys()
    assert {act.name for act in acts.values()} - {"set-policy"} == DEFAULTS.keys()


@pytest.mark.parametrize("body", [body for body, (_, rule) in RULES[1].handlers.items() if rule.act])
def test_an_act_needs_as_many_organisations_as_its_row_states(ledger: Ledger, body: type[Body]) -> None:
    act = RULES[1].handlers[body][1].act
    assert act
    name = act.name if act.name != "set-policy" else "revoke"
    count, _ = NEEDS[body.__name__]
    for size in range(4):
        for signed in combinations(OPERATORS, size):
            assert suffices(ledger.chain.world, name, "", signed) == (size >= count)


@pytest.mark.parametrize(
    ("body", "own"),
    [
        (lambda ledger: RetireOrganisation("org-3"), "org-3"),
        (lambda ledger: Revoke(thumbprint(ledger.actors["sl-3"].pair.certificate)), "org-3"),
    ],
    ids=["leave", "revoke"],
)
def test_a_member_acts_alone_for_itself_and_needs_others_against_them(ledger: Ledger, body: object, own: str) -> None:
    act = body(ledger)  # type: ignore[operator]
    send(ledger, "op-1", act)
    assert (newest(ledger).state, newest(ledger).signed) == ("open", ("org-1",))
    other = three()
    send(other, OPERATORS[own], body(other))  # type: ignore[operator]
    assert not [each for each in network.proposals(other.chain.world) if each.act != "admit-organisation"]


# --- proposals ------------------------------------------------------------------------------------------------------


def test_a_proposal_takes_effect_with_the_last_signature_that_it_needs(ledger: Ledger) -> None:
    admission = AdmitOrganisation(organisation("org-4", SPARE))
    send(ledger, "op-1", admission)
    assert "org-4" not in active(ledger)
    send(ledger, "op-2", Sign(newest(ledger).number))
    assert "org-4" in active(ledger)
    assert newest(ledger).state == "done"
    with pytest.raises(Rejection, match=r"no-proposal: proposal .* is done"):
        send(ledger, "op-3", Sign(newest(ledger).number))


def test_sending_the_same_act_signs_its_proposal(ledger: Ledger) -> None:
    for operator in ("op-1", "op-3"):
        send(ledger, operator, AdmitOrganisation(organisation("org-4", SPARE)))
    assert "org-4" in active(ledger)


def test_an_organisation_signs_once_through_whichever_operator(ledger: Ledger) -> None:
    ledger.join("ui-1", "UI", AUTHORITIES["org-1"])
    send(ledger, "op-1", AdmitOrganisation(organisation("org-4", SPARE)))
    for body in (Sign(newest(ledger).number), AdmitOrganisation(organisation("org-4", SPARE))):
        with pytest.raises(Rejection, match="no-change: organisation org-1 has answered proposal"):
            send(ledger, "ui-1", body)


def test_a_proposal_that_cannot_have_its_quorum_any_more_is_rejected(ledger: Ledger) -> None:
    send(ledger, "op-1", AdmitOrganisation(organisation("org-4", SPARE)))
    number = newest(ledger).number
    send(ledger, "op-2", Reject(number))
    assert newest(ledger).state == "open"
    send(ledger, "op-3", Reject(number))
    assert newest(ledger).state == "rejected"
    with pytest.raises(Rejection, match=r"no-proposal: proposal .* is rejected"):
        send(ledger, "op-2", Sign(number))


def test_a_signature_can_be_taken_back_and_a_rejection_too(ledger: Ledger) -> None:
    send(ledger, "op-1", AdmitOrganisation(organisation("org-4", SPARE)))
    number = newest(ledger).number
    send(ledger, "op-1", Reject(number))
    assert (newest(ledger).signed, newest(ledger).rejected) == ((), ("org-1",))
    send(ledger, "op-2", Sign(number))
    assert "org-4" not in active(ledger)
    send(ledger, "op-1", Sign(number))
    assert "org-4" in active(ledger)


def test_a_proposal_expires(ledger: Ledger) -> None:
    send(ledger, "op-1", AdmitOrganisation(organisation("org-4", SPARE)))
    number = newest(ledger).number
    ledger.clock += PROPOSAL_MS + 60_000
    with pytest.raises(Rejection, match=r"no-proposal: proposal .* has expired"):
        send(ledger, "op-2", Sign(number))
    send(ledger, "op-2", AdmitOrganisation(organisation("org-4", SPARE)))
    assert newest(ledger).number == number + 1


def test_a_proposal_whose_state_has_changed_since_is_refused_with_its_last_signature(ledger: Ledger) -> None:
    retiring = Revoke(thumbprint(ledger.actors["sl-3"].pair.certificate))
    send(ledger, "op-1", retiring)
    number = newest(ledger).number
    send(ledger, "op-3", retiring)  # its own organisation does it alone
    with pytest.raises(Rejection, match="unknown-certificate"):
        send(ledger, "op-2", Sign(number))
    send(ledger, "op-2", Reject(number))


def test_an_act_that_could_not_take_effect_is_not_proposed(ledger: Ledger) -> None:
    before = len(network.proposals(ledger.chain.world))
    with pytest.raises(Rejection, match="unknown-organisation"):
        send(ledger, "op-1", RetireOrganisation("org-9"))
    assert len(network.proposals(ledger.chain.world)) == before


def test_an_outsider_cannot_sign(ledger: Ledger) -> None:
    send(ledger, "op-1", AdmitOrganisation(organisation("org-4", SPARE)))
    number = newest(ledger).number
    with pytest.raises(Rejection, match="not-allowed"):
        send(ledger, "sl-2", Sign(number))
    ledger.actor("op-9", "SWCI", SPARE)
    with pytest.raises(Rejection, match="untrusted"):
        ledger.register("op-9")


def test_an_organisation_has_a_bounded_number_of_open_proposals(ledger: Ledger) -> None:
    for number in range(MOST_OPEN):
        send(ledger, "op-1", AdmitOrganisation(organisation(f"new-{number}", SPARE)))
    with pytest.raises(Rejection, match=f"too-many: organisation org-1 has {MOST_OPEN} open proposals"):
        send(ledger, "op-1", AdmitOrganisation(organisation("one-more", SPARE)))
    send(ledger, "op-2", AdmitOrganisation(organisation("one-more", SPARE)))


# --- policies -------------------------------------------------------------------------------------------------------


def test_a_policy_is_changed_by_the_quorum_of_its_own_act(ledger: Ledger) -> None:
    send(ledger, "op-1", SetPolicy("create-contract", "majority"))  # one organisation is enough for it so far
    send(ledger, "op-1", SetPolicy("create-contract", "one"))
    assert newest(ledger).state == "open"
    send(ledger, "op-2", SetPolicy("create-contract", "one"))
    assert newest(ledger).state == "done"
    send(ledger, "op-1", SetPolicy("admit-organisation", "all"))
    send(ledger, "op-2", SetPolicy("admit-organisation", "all"))
    for operator in ("op-1", "op-2"):
        send(ledger, operator, AdmitOrganisation(organisation("org-4", SPARE)))
    assert "org-4" not in active(ledger)
    send(ledger, "op-3", Sign(newest(ledger).number))
    assert "org-4" in active(ledger)


@pytest.mark.parametrize(
    ("act", "quorum", "match"),
    [
        ("fly", "one", "unknown-act: there is no policy fly"),
        ("switch-rules", "own", "locked-out: switch-rules concerns no single organisation"),
        ("revoke", "majority", "no-change: revoke needs majority already"),
    ],
)
def test_a_policy_that_means_nothing_is_refused(ledger: Ledger, act: str, quorum: Quorum, match: str) -> None:
    with pytest.raises(Rejection, match=match):
        send(ledger, "op-1", SetPolicy(act, quorum))


def test_a_policy_that_nobody_could_meet_is_refused_and_names_who_could_never_sign(ledger: Ledger) -> None:
    mute = NewOrganisation("mute", "Mute", (Anchor(anchor(SPARE).certificate, roles=("SL",)),))
    for operator in ("op-1", "op-2"):
        send(ledger, operator, AdmitOrganisation(mute))
    with pytest.raises(Rejection, match="locked-out: switch-rules would need all, and mute could never sign"):
        send(ledger, "op-1", SetPolicy("switch-rules", "all"))


def test_an_act_left_to_the_organisation_that_it_concerns_cannot_be_done_by_others(ledger: Ledger) -> None:
    for operator in ("op-1", "op-2"):
        send(ledger, operator, SetPolicy("revoke", "own"))
    with pytest.raises(Rejection, match="not-allowed: revoke is left to the organisation that it concerns"):
        send(ledger, "op-1", Revoke(thumbprint(ledger.actors["sl-3"].pair.certificate)))
    send(ledger, "op-3", Revoke(thumbprint(ledger.actors["sl-3"].pair.certificate)))


# --- properties -----------------------------------------------------------------------------------------------------

ACTS: list[Body] = [
    AdmitOrganisation(organisation("org-4", SPARE)),
    RetireOrganisation("org-1"),
    RetireOrganisation("org-2"),
    AddAuthority("org-1", anchor(SPARE)),
    AddAuthority("org-2", anchor(SPARE)),
    RetireAuthority(thumbprint(AUTHORITIES["org-1"].certificate)),
    SetPolicy("admit-organisation", "one"),
    SetPolicy("revoke", "one"),
    SetPolicy("switch-rules", "one"),
    SwitchRules(2),
    *(Sign(number) for number in range(1, 6)),
    *(Reject(number) for number in range(1, 6)),
]


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["op-3", "ui-3"]), st.sampled_from(ACTS)), max_size=12))
def test_no_sequence_of_one_organisation_s_acts_changes_who_may_do_what(steps: list[tuple[str, Body]]) -> None:
    ledger = three()
    ledger.join("ui-3", "UI", AUTHORITIES["org-3"])
    before = governed(ledger)
    for uid, body in steps:
        try:
            send(ledger, uid, body)
        except Rejection:
            continue
    assert governed(ledger) == before


def governed(ledger: Ledger) -> object:
    """All that says who may do what, without what concerns the third organisation itself."""
    entries = ledger.chain.world.entries
    return {
        key: entry
        for key, entry in entries.items()
        if key.partition("/")[0] in ("organisation", "authority", "policy", "network") and "org-3" not in repr(entry)
    }


def test_one_organisation_resets_a_contract_that_nobody_owns(ledger: Ledger) -> None:
    ledger.send("sl-1", session(2))
    assert ledger.send("op-2", Reset(forced=True)).run == 2
