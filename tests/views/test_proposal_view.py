"""What people are shown of a proposal before they sign it."""

import json

from support.governed import SPARE, send, three
from support.network import Ledger, organisation
from swarmlearning.identity.ca import create_authority
from swarmlearning.identity.certificates import thumbprint, to_pem
from swarmlearning.ledger.bodies import (
    AddAuthority,
    AdmitOrganisation,
    Anchor,
    CreateContract,
    NewOrganisation,
    SetPolicy,
)
from swarmlearning.views.proposals import ProposalView, proposals
from swarmlearning.views.render import proposal_text


def last(ledger: Ledger) -> ProposalView:
    return proposals(ledger.chain.world, ledger.chain.time_ms)[-1]


def test_an_authority_that_only_has_the_name_of_another_is_shown_by_its_thumbprint() -> None:
    ledger = three()
    namesake = create_authority("CA-2", 30).certificate
    send(ledger, "op-1", AddAuthority("org-2", Anchor(to_pem(namesake), roles=("SN", "OPERATOR"))))
    found = last(ledger)
    assert thumbprint(namesake)[:16] in found.what
    anchor = found.content["anchor"]
    assert isinstance(anchor, dict)
    shown = {"subject": "CN=CA-2,OU=Swarm-Learning", "thumbprint": thumbprint(namesake)}
    assert (anchor["certificate"], anchor["roles"]) == ([shown], ["SN", "OPERATOR"])


def test_an_admission_names_the_authority_to_compare_beside_the_name_that_its_proposer_chose() -> None:
    ledger = three()
    send(ledger, "op-1", AdmitOrganisation(organisation("org-4", SPARE)))
    assert thumbprint(SPARE.certificate)[:16] in last(ledger).what


def test_nothing_of_a_long_proposal_is_left_out_where_it_is_shown_whole() -> None:
    ledger = three()
    anchors = tuple(Anchor(to_pem(create_authority(f"CA-{number}" * 6, 30).certificate)) for number in range(4))
    new = NewOrganisation("org-9", "x" * 160, anchors)
    send(ledger, "op-1", AdmitOrganisation(new))
    shown = json.dumps(last(ledger).content)
    assert "x" * 160 in shown
    assert shown.count("thumbprint") == len(anchors)
    assert all(name in shown for name in ("roles", "trust_domain", "quotas"))  # also where they are the default


def test_a_proposal_for_a_contract_names_the_whole_contract_and_all_that_it_lays_down() -> None:
    ledger = three()
    name = "s" * 150 + "-one"
    send(ledger, "op-1", SetPolicy("create-contract", "majority"))
    send(ledger, "op-2", SetPolicy("create-contract", "majority"))
    ledger.send("op-1", CreateContract(members=("org-1", "org-2"), max_organisation_weight=500), name)
    found = last(ledger)
    assert found.contract == name
    assert found.content["members"] == ["org-1", "org-2"]
    assert found.content["max_organisation_weight"] == 500


def test_whoever_answers_on_behalf_of_a_person_is_shown_with_that_person() -> None:
    ledger = three()
    ledger.send("op-1", SetPolicy("revoke", "all"), "network", on_behalf_of="Dr. Ada")
    found = last(ledger)
    assert found.persons == {"org-1": "Dr. Ada"}
    assert "signed by org-1 (for Dr. Ada), not yet by org-2, org-3" in proposal_text(found)
