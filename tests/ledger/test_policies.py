"""Policies: whose signatures an act needs, row by row."""

from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.governed import AUTHORITIES, OPERATORS, SPARE, active, newest, send, three
from support.network import Ledger, anchor, organisation, session
from swarmlearning.identity.ca import create_authority
from swarmlearning.identity.certificates import thumbprint
from swarmlearning.ledger.bodies import (
    AddAuthority,
    AdmitOrganisation,
    Anchor,
    Body,
    CreateContract,
    Leave,
    NewOrganisation,
    Quorum,
    Register,
    Reject,
    Reset,
    RetireAuthority,
    RetireOrganisation,
    Revoke,
    SetPolicy,
    Sign,
    Stop,
    SwitchRules,
)
from swarmlearning.ledger.chain import RULES_VERSION
from swarmlearning.ledger.contracts import network
from swarmlearning.ledger.contracts.network.policies import (
    TABLE,
    permits,
    quorum_of,
    quorum_to_change,
    reaches,
    suffices,
)
from swarmlearning.ledger.contracts.rejection import Rejection
from swarmlearning.ledger.rules import RULES


@pytest.fixture
def ledger() -> Ledger:
    return three()


# --- the table ------------------------------------------------------------------------------------------------------

NEVER = 4  # an act that is never for others to decide
# Of three organisations: how many have to sign; whose alone is enough.
NEEDS: dict[str, tuple[int, str]] = {
    "AdmitOrganisation": (2, ""),
    "RetireOrganisation": (2, "its own"),
    "AddAuthority": (2, "its own for a successor"),
    "RetireAuthority": (2, "its own"),
    "Revoke": (2, "its own"),
    "SwitchRules": (2, ""),
    "SetPolicy": (2, ""),
    "LiftQuarantine": (2, ""),
    "SetQuotas": (2, ""),
    "CreateContract": (1, ""),
    "ChangeMembers": (2, "its owner, where nobody gets more to read"),
    "Stop": (2, "its owner"),
    "Reset": (2, "its owner"),
    "Assign": (NEVER, "anybody"),
    "AssignTarget": (NEVER, "anybody"),
    "ResetTaskrunner": (2, "who has assigned, anybody where no SWOP is at work"),
    "AbortTaskrunner": (2, "who has assigned, anybody where no SWOP is at work"),
}


def test_each_act_has_a_row_in_the_table() -> None:
    acts = {body.__name__: rule.act for body, (_, rule) in RULES[RULES_VERSION].handlers.items() if rule.act}
    assert acts.keys() == NEEDS.keys()
    rights = {"take-part", "read-results", "read-final-results", "read-logs"}
    assert {act.name for act in acts.values()} - {"set-policy"} | rights | {"recover"} == TABLE.keys()


@pytest.mark.parametrize("body", [body for body, (_, rule) in RULES[RULES_VERSION].handlers.items() if rule.act])
def test_an_act_needs_as_many_organisations_as_its_row_states(ledger: Ledger, body: type[Body]) -> None:
    act = RULES[RULES_VERSION].handlers[body][1].act
    assert act
    world = ledger.chain.world
    count, _ = NEEDS[body.__name__]
    for size in range(4):
        for signed in combinations(OPERATORS, size):
            if body is SetPolicy:
                assert all(reaches(world, quorum_to_change(world, each), signed) == (size >= count) for each in TABLE)
            else:
                assert suffices(world, act.name, "", signed) == (size >= count)


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


# --- policies -------------------------------------------------------------------------------------------------------


def test_a_policy_is_changed_by_the_quorum_of_its_own_act(ledger: Ledger) -> None:
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
        ("switch-rules", "own", "locked-out: switch-rules cannot need own; it can need one, majority, all"),
        ("revoke", "majority", "no-change: revoke needs majority already"),
        ("revoke", "none", "locked-out: revoke cannot need none"),
        ("read-logs", "majority", "locked-out: read-logs cannot need majority; it can need own, one"),
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


@pytest.mark.parametrize("act", TABLE)
def test_one_organisation_alone_changes_no_policy_and_a_majority_changes_each(ledger: Ledger, act: str) -> None:
    choices = [choice for choice in TABLE[act].choices if choice != TABLE[act].quorum]
    for quorum in (*choices, TABLE[act].quorum):  # there and back again
        before = quorum_of(ledger.chain.world, act)
        everybody = ("op-1", "op-2", "op-3") if before == "all" else ("op-1", "op-2")
        for operator in everybody:
            assert quorum_of(ledger.chain.world, act) == before
            send(ledger, operator, SetPolicy(act, quorum))
        assert quorum_of(ledger.chain.world, act) == quorum


def test_an_organisation_that_could_never_sign_is_not_admitted_where_all_have_to_sign(ledger: Ledger) -> None:
    mute = NewOrganisation("mute", "Mute", (Anchor(anchor(SPARE).certificate, roles=("SL",)),))
    for operator in ("op-1", "op-2"):
        send(ledger, operator, SetPolicy("switch-rules", "all"))
    with pytest.raises(Rejection, match="locked-out: switch-rules would need all, and mute could never sign"):
        send(ledger, "op-1", AdmitOrganisation(mute))


def test_an_authority_that_alone_issues_for_operators_is_not_given_up_where_all_have_to_sign(ledger: Ledger) -> None:
    for operator in ("op-1", "op-2"):
        send(ledger, operator, SetPolicy("switch-rules", "all"))
    only_sites = Anchor(anchor(AUTHORITIES["org-3"]).certificate, roles=("SL",))
    with pytest.raises(Rejection, match="locked-out: switch-rules would need all, and org-3 could never sign"):
        send(ledger, "op-3", AddAuthority("org-3", only_sites))


def test_organisations_that_could_never_sign_do_not_become_half_of_all(ledger: Ledger) -> None:
    mute = [
        AdmitOrganisation(NewOrganisation(name, name, (Anchor(anchor(authority).certificate, roles=("SL",)),)))
        for name, authority in (
            ("mute-1", SPARE),
            ("mute-2", create_authority("CA-7", 30)),
            ("mute-3", create_authority("CA-8", 30)),
        )
    ]
    for body, operators in zip(mute, (("op-1", "op-2"), ("op-1", "op-2", "op-3")), strict=False):
        for operator in operators:
            send(ledger, operator, body)
    with pytest.raises(Rejection, match="would need majority, and mute-1, mute-2, mute-3 could never sign"):
        send(ledger, "op-1", mute[2])


def test_the_only_organisation_does_not_give_up_the_authority_that_issues_for_its_operators() -> None:
    alone = Ledger(AUTHORITIES["org-1"])
    alone.join("op-1", "SWCI")
    only_nodes = Anchor(anchor(AUTHORITIES["org-1"]).certificate, roles=("SN", "SL"))
    with pytest.raises(Rejection, match=r"locked-out: .* and org-1 could never sign: no authority there may issue"):
        send(alone, "op-1", AddAuthority("org-1", only_nodes))


RIGHTS = [
    # right, its policy, those who have it of org-1's, which names org-2
    ("take-part", "one", {"org-1", "org-2", "org-3"}),
    ("take-part", "own", {"org-1", "org-2"}),
    ("read-results", "own", {"org-1", "org-2"}),
    ("read-results", "one", {"org-1", "org-2", "org-3"}),
    ("read-final-results", "own", {"org-1", "org-2"}),
    ("read-logs", "own", {"org-1", "org-2"}),
    ("read-logs", "one", {"org-1", "org-2", "org-3"}),
]


@pytest.mark.parametrize(("right", "policy", "holders"), RIGHTS)
def test_a_right_is_its_owner_s_and_theirs_whom_the_owner_names_or_everybody_s(
    ledger: Ledger, right: str, policy: Quorum, holders: set[str]
) -> None:
    if quorum_of(ledger.chain.world, right) != policy:
        for operator in ("op-1", "op-2"):
            send(ledger, operator, SetPolicy(right, policy))
    everybody = ("org-1", "org-2", "org-3", "org-9")
    found = {each for each in everybody if permits(ledger.chain.world, right, each, "org-1", ("org-2",))}
    assert found == holders


def test_nobody_but_its_own_organisation_reads_a_node_s_logs_by_default(ledger: Ledger) -> None:
    readers = [each for each in OPERATORS if permits(ledger.chain.world, "read-logs", each, "org-3")]
    assert readers == ["org-3"]


def test_a_contract_without_a_member_list_can_be_closed_by_the_policy_on_taking_part(ledger: Ledger) -> None:
    ledger.send("sl-1", session(2))
    for operator in ("op-1", "op-2"):
        send(ledger, operator, SetPolicy("take-part", "own"))
    with pytest.raises(Rejection, match=r"not-invited: contract .* names no members"):
        ledger.send("sl-2", session(2))
    ledger.send("op-2", CreateContract(members=("org-2", "org-3")), "named")
    ledger.send("sl-2", session(2), "named")
    ledger.send("sl-3", session(2), "named")
    with pytest.raises(Rejection, match="not-invited"):
        ledger.send("sl-1", session(2), "named")


def test_an_act_left_to_the_organisation_that_it_concerns_cannot_be_done_by_others(ledger: Ledger) -> None:
    for operator in ("op-1", "op-2"):
        send(ledger, operator, SetPolicy("revoke", "own"))
    with pytest.raises(Rejection, match="not-allowed: revoke is left to the organisation that it concerns"):
        send(ledger, "op-1", Revoke(thumbprint(ledger.actors["sl-3"].pair.certificate)))
    send(ledger, "op-3", Revoke(thumbprint(ledger.actors["sl-3"].pair.certificate)))


# --- new rules ------------------------------------------------------------------------------------------------------


def switch(ledger: Ledger) -> None:
    for operator in ("op-1", "op-2"):
        send(ledger, operator, SwitchRules(RULES_VERSION + 1))


def upgrade(ledger: Ledger, *uids: str) -> None:
    for uid in uids:
        actor = ledger.actors[uid]
        actor.incarnation += 1
        send(ledger, uid, Register(actor.kind, uid, actor.pem, "1", RULES_VERSION + 1))


def test_rules_are_switched_only_once_the_nodes_of_a_majority_of_organisations_know_them(ledger: Ledger) -> None:
    upgrade(ledger, "sn-1", "sl-1", "sn-2")
    with pytest.raises(Rejection, match=r"far-rules: .* nodes that do not know it: sl-2 of org-2, sl-3 of org-3;"):
        switch(ledger)
    upgrade(ledger, "sl-2")
    switch(ledger)
    assert network.network(ledger.chain.world).rules_version == RULES_VERSION + 1


def test_a_swop_that_does_not_know_the_rules_holds_their_switch_up(ledger: Ledger) -> None:
    ledger.join("swop-2", "SWOP", AUTHORITIES["org-2"])
    upgrade(ledger, "sn-1", "sl-1", "sn-2", "sl-2")
    with pytest.raises(Rejection, match=r"far-rules: .* nodes that do not know it: sl-3 of org-3, swop-2 of org-2;"):
        switch(ledger)


def test_nodes_that_have_left_and_operators_do_not_hold_a_switch_of_rules_up(ledger: Ledger) -> None:
    upgrade(ledger, "sn-1", "sl-1", "sn-2")
    send(ledger, "sl-2", Leave())
    switch(ledger)
    assert network.network(ledger.chain.world).rules_version == RULES_VERSION + 1


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
    SwitchRules(RULES_VERSION + 1),
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


def test_an_organisation_resets_a_training_that_nobody_owns_and_only_its_own_sites_are_in(ledger: Ledger) -> None:
    ledger.send("sl-2", session(2))
    assert ledger.send("op-2", Reset(forced=True)).run == 2


def test_a_training_that_nobody_owns_is_not_ended_by_one_organisation_while_others_train(ledger: Ledger) -> None:
    ledger.send("sl-1", session(2))
    ledger.send("sl-2", session(2))
    for body in (Reset(forced=True), Stop()):
        before = ledger.training
        assert ledger.send("op-3", body) == before
    assert ledger.send("op-1", Reset(forced=True)).run == 2, "a majority resets it"
