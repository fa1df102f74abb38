"""The code that an operator hands out: which SNs it names, and which authorities."""

import pytest

from support.governed import AUTHORITIES, send, three
from support.network import Ledger
from swarmlearning.identity.certificates import thumbprint, to_pem
from swarmlearning.identity.onetime import public_half
from swarmlearning.invitations.code import MAX_ADDRESSES, JoinCode, read_code
from swarmlearning.ledger.bodies import Announce, Invite
from swarmlearning.operator.acts import ActError
from swarmlearning.operator.invitations import code_of, own_organisation, waiting_requests, withdraw

KEY = bytes(range(32))


def announced(*sns: str) -> Ledger:
    """A ledger of three organisations whose SNs have ports for newcomers; sn-1 is of org-1, sn-2 of org-2."""
    ledger = three()
    for number, uid in enumerate(("sn-1", "sn-2"), start=1):
        join = {"join": f"10.0.0.{number}:30307"} if uid in sns else {}
        send(ledger, uid, Announce({"api": f"10.0.0.{number}:30304", **join}))
    return ledger


def code(ledger: Ledger, organisation: str, name: str = "SL-9", api: str = "") -> JoinCode:
    body = Invite(public_half(KEY), organisation, 10_000, "SL" if name else None, name)
    return read_code(code_of(ledger.chain, body, KEY, api))


def fingerprints(*organisations: str) -> set[bytes]:
    return {bytes.fromhex(thumbprint(AUTHORITIES[each].certificate)) for each in organisations}


def test_the_sn_in_use_comes_first_then_those_of_the_own_organisation() -> None:
    ledger = announced("sn-1", "sn-2")
    assert code(ledger, "org-2").addresses == ("10.0.0.2:30307", "10.0.0.1:30307")
    assert code(ledger, "org-2", api="10.0.0.1:30304").addresses == ("10.0.0.1:30307", "10.0.0.2:30307")


def test_a_code_names_the_authorities_of_its_sns_and_of_the_node_s_organisation_alone() -> None:
    assert set(code(announced("sn-1"), "org-1").authorities) == fingerprints("org-1")
    assert set(code(announced("sn-1"), "org-3").authorities) == fingerprints("org-1", "org-3")
    assert set(code(announced("sn-1"), "org-9", "").authorities) == fingerprints("org-1")
    assert set(code(announced("sn-1", "sn-2"), "org-9", "").authorities) == fingerprints("org-1", "org-2")


def test_only_the_authorities_of_its_own_organisation_may_issue_a_node_s_certificate() -> None:
    assert set(code(announced("sn-1", "sn-2"), "org-1").issuers) == fingerprints("org-1")
    assert set(code(announced("sn-1", "sn-2"), "org-3").issuers) == fingerprints("org-3")
    assert code(announced("sn-1", "sn-2"), "org-9", "").issuers == ()


def test_of_many_sns_a_code_names_three() -> None:
    ledger = announced("sn-1", "sn-2")
    for number in range(3, 7):
        ledger.join(f"sn-{number}", "SN")
        send(ledger, f"sn-{number}", Announce({"join": f"10.0.0.{number}:30307"}))
    assert len(code(ledger, "org-2").addresses) == MAX_ADDRESSES


def test_a_code_carries_network_name_and_expiry() -> None:
    ledger = announced("sn-1")
    found = code(ledger, "org-1")
    assert (found.network_id, found.organisation, found.name, found.expires) == (
        ledger.chain.network_id,
        "org-1",
        "SL-9",
        10,
    )


def test_nobody_is_invited_to_a_network_in_which_no_sn_takes_newcomers() -> None:
    with pytest.raises(ActError, match="no SN of this network takes in newcomers"):
        code(announced(), "org-1")


def test_an_operator_s_organisation_is_that_which_has_issued_its_certificate() -> None:
    ledger = announced()
    assert own_organisation(ledger.chain, to_pem(ledger.actors["op-2"].pair.certificate)) == "org-2"
    with pytest.raises(ActError, match="no certificate"):
        own_organisation(ledger.chain, "nothing")


def test_what_does_not_exist_is_not_withdrawn() -> None:
    ledger = announced("sn-1")
    assert waiting_requests(ledger.chain.world, "org-1") == []
    with pytest.raises(ActError, match="there is no invitation 'abcdef'; `swarm invite list` shows them"):
        withdraw(ledger.chain.world, "abcdef")
