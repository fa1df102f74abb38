"""What pages show of organisations: who takes part, what waits for whom, and whose certificates end when."""

import msgspec

from support.governed import AUTHORITIES, send, three
from support.network import Ledger
from swarmlearning.identity.certificates import thumbprint, to_pem
from swarmlearning.identity.onetime import public_half, sign
from swarmlearning.identity.requests import make_request
from swarmlearning.ledger.bodies import Invite, Reject, RequestCertificate, RetireOrganisation, Revoke, SetPolicy, Sign
from swarmlearning.ledger.chain import Chain
from swarmlearning.ledger.contracts.network.inviting import statement
from swarmlearning.ui.pages.organisations import OrganisationsView, organisation_of, organisations_view

KEY = bytes(range(32))
DAY_MS = 24 * 3600 * 1000


def view(ledger: Ledger, own: str = "org-1", now_ms: int | None = None) -> OrganisationsView:
    return organisations_view(ledger.chain, own, ledger.chain.time_ms if now_ms is None else now_ms)


def test_an_empty_ledger_has_nothing_to_show() -> None:
    found = organisations_view(Chain(), "", 0)
    assert (found.members, found.policies, found.certificates) == ([], [], [])
    assert organisation_of(Chain(), "x") == ""


def test_members_are_shown_with_their_authorities_nodes_and_quotas() -> None:
    ledger = three()
    found = view(ledger, "org-2").members
    assert [(each.id, each.takes_part, each.own, each.nodes) for each in found] == [
        *(("org-1", True, False, 3), ("org-2", True, True, 3), ("org-3", True, False, 2))
    ]
    (authority,) = found[1].authorities
    assert authority.thumbprint == thumbprint(AUTHORITIES["org-2"].certificate)
    assert authority.trusted
    assert authority.expires_ms
    assert authority.subject.startswith("CN=CA-2")
    assert found[1].quotas["nodes"] == 256


def test_a_retired_organisation_is_shown_as_such() -> None:
    ledger = three()
    send(ledger, "op-3", RetireOrganisation("org-3"))
    last = view(ledger).members[-1]
    assert (last.id, last.takes_part, last.authorities[0].trusted, last.authorities[0].expires_ms) == (
        *("org-3", False, False, None),
    )


def test_a_proposal_offers_what_the_own_organisation_can_still_do() -> None:
    ledger = three()
    send(ledger, "op-1", SetPolicy("create-contract", "majority"))

    def offers(own: str) -> tuple[bool, bool]:
        newest = view(ledger, own).proposals[0]
        return newest.signs, newest.rejects

    assert (offers("org-1"), offers("org-2"), offers("")) == ((False, True), (True, True), (False, False))
    assert '"quorum": "majority"' in view(ledger).proposals[0].content
    assert view(ledger).proposals[0].proposal.missing == ("org-2", "org-3")
    number = view(ledger).proposals[0].proposal.number
    send(ledger, "op-3", Reject(number))
    assert offers("org-3") == (True, False)
    send(ledger, "op-2", Sign(number))
    assert offers("org-3") == (False, False)
    assert next(each for each in view(ledger).policies if each.act == "create-contract").needs == "majority"


def test_open_proposals_come_first() -> None:
    ledger = three()
    send(ledger, "op-1", SetPolicy("create-contract", "majority"))
    send(ledger, "op-1", SetPolicy("create-contract", "all"))
    send(ledger, "op-2", Sign(view(ledger).proposals[0].proposal.number))
    assert [each.proposal.state for each in view(ledger).proposals][:2] == ["open", "done"]


def test_an_invitation_waits_for_the_office_of_whoever_has_sent_it() -> None:
    ledger = three()
    send(ledger, "op-2", Invite(public_half(KEY), "org-2", ledger.chain.time_ms + 3_600_000, "SL", "SL-new"))

    def shown(own: str) -> tuple[str, bool, bool, bool]:
        (found,) = view(ledger, own).invitations
        return found.state, found.own, found.withdrawable, bool(found.request)

    assert (shown("org-2"), shown("org-1")) == (("open", True, True, False), ("open", False, False, False))
    request = make_request(AUTHORITIES["org-2"].key, "SL-new", [], ["10.0.0.1"])
    unsigned = RequestCertificate(public_half(KEY), request, "")
    signed = msgspec.structs.replace(unsigned, signature=sign(KEY, statement(ledger.chain.network_id, unsigned)))
    send(ledger, "sn-1", signed)
    assert (shown("org-2"), shown("org-1")) == (("waiting", True, False, True), ("waiting", False, False, False))
    assert len(view(ledger, "org-2").invitations[0].fingerprint) == 64


def test_own_certificates_are_shown_with_how_near_their_end_is() -> None:
    ledger = three()
    rows = view(ledger, "org-2").certificates
    assert {each.node for each in rows} == {"op-2", "sl-2", "sn-2"}
    assert {each.urgency for each in rows} == {"good"}
    end = rows[0].expires_ms
    assert end is not None
    assert rows[0].renew == f"swarm ca renew {rows[0].node} --out CA-FOLDER"
    assert view(ledger, "org-2", end - 29 * DAY_MS).certificates[0].urgency == "soon"
    assert view(ledger, "org-2", end + 1).certificates[0].urgency == "expired"
    revoked = next(each for each in rows if each.node == "sl-2")
    send(ledger, "op-2", Revoke(revoked.thumbprint))
    assert {each.node for each in view(ledger, "org-2").certificates} == {"op-2", "sn-2"}


def test_the_own_organisation_is_the_one_that_has_issued_the_certificate() -> None:
    ledger = three()
    assert organisation_of(ledger.chain, ledger.actors["op-3"].pem) == "org-3"
    assert organisation_of(ledger.chain, to_pem(AUTHORITIES["org-1"].certificate)) == ""
