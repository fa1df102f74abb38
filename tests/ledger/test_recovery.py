"""Recovery: a network is restarted from one SN only where its policy is met, by signatures that were made offline."""

from typing import Any

import msgspec
import pytest

from support.governed import AUTHORITIES, NETWORK, SPARE, send, three
from support.network import Ledger, anchor
from swarmlearning.identity.ca import create_authority
from swarmlearning.ledger.bodies import AddAuthority, Consent, Recover, Revoke, SetPolicy
from swarmlearning.ledger.contracts import network
from swarmlearning.ledger.contracts.network.recovery import Start, named_in, statement
from swarmlearning.ledger.contracts.rejection import Rejection

LOST = Recover(lost=("sn-2",))


@pytest.fixture
def ledger() -> Ledger:
    return three()


def consent(ledger: Ledger, uid: str, body: Recover, by: str = "sn-1", **other: Any) -> Consent:
    """The signature of this actor under a recovery from the present head by the SN `by`."""
    chain, actor = ledger.chain, ledger.actors[uid]
    start = Start(chain.network_id, by, chain.height, chain.hash)._replace(**other)
    return Consent(
        actor.pem, actor.signer.sign(statement(start, named_in(chain.world, by, body.lost), body.authorities))
    )


def agreed(ledger: Ledger, body: Recover, *uids: str) -> Recover:
    return msgspec.structs.replace(body, consents=tuple(consent(ledger, uid, body) for uid in uids))


def admitted(ledger: Ledger) -> list[str]:
    return [sn.uid for sn in network.admitted(ledger.chain.world)]


def test_an_sn_alone_cannot_declare_the_others_gone(ledger: Ledger) -> None:
    with pytest.raises(Rejection, match=r"not-allowed: .* needs majority .* signed by org-1, not by org-2, org-3"):
        send(ledger, "sn-1", LOST)


def test_a_recovery_is_agreed_by_the_sender_s_organisation_and_operators_who_complete_the_quorum(
    ledger: Ledger,
) -> None:
    send(ledger, "sn-1", agreed(ledger, LOST, "op-3"))
    assert admitted(ledger) == ["sn-1"]


def test_an_sn_of_the_only_organisation_recovers_without_further_signatures() -> None:
    alone = Ledger(AUTHORITIES["org-1"])
    alone.join("sn-2", "SN")
    send(alone, "sn-1", LOST)
    assert admitted(alone) == ["sn-1"]


def test_two_operators_of_one_organisation_are_one_signature(ledger: Ledger) -> None:
    ledger.join("ui-1", "UI", AUTHORITIES["org-1"])
    with pytest.raises(Rejection, match="not-allowed: a recovery needs majority"):
        send(ledger, "sn-1", agreed(ledger, LOST, "op-1", "ui-1"))


def test_a_recovery_follows_its_policy(ledger: Ledger) -> None:
    for operator in ("op-1", "op-2"):
        send(ledger, operator, SetPolicy("recover", "all"))
    with pytest.raises(Rejection, match="a recovery needs all"):
        send(ledger, "sn-1", agreed(ledger, LOST, "op-2"))
    send(ledger, "sn-1", agreed(ledger, LOST, "op-2", "op-3"))


@pytest.mark.parametrize("uid", ["sl-2", "sn-2"])
def test_nodes_do_not_sign_a_recovery_for_their_organisation(ledger: Ledger, uid: str) -> None:
    with pytest.raises(Rejection, match=r"not-allowed: .* for no operator"):
        send(ledger, "sn-1", agreed(ledger, LOST, uid))


def test_an_outsider_s_signature_is_refused(ledger: Ledger) -> None:
    ledger.actor("op-9", "SWCI", SPARE)
    with pytest.raises(Rejection, match="untrusted"):
        send(ledger, "sn-1", agreed(ledger, LOST, "op-9"))


def test_a_revoked_operator_s_signature_is_refused(ledger: Ledger) -> None:
    send(ledger, "op-2", Revoke(ledger.actors["op-2"].signer.thumbprint))
    with pytest.raises(Rejection, match="revoked"):
        send(ledger, "sn-1", agreed(ledger, LOST, "op-2"))


OTHERS: dict[str, dict[str, Any]] = {
    "network": {"network": "0" * 64},
    "SN": {"by": "sn-2"},
    "height": {"height": 3},
    "block": {"block": "0" * 64},
}


@pytest.mark.parametrize("other", OTHERS.values(), ids=OTHERS)
def test_a_signature_under_another_recovery_is_refused(ledger: Ledger, other: dict[str, Any]) -> None:
    with pytest.raises(Rejection, match=r"bad-signature: .* has signed another recovery"):
        send(ledger, "sn-1", Recover(LOST.lost, consents=(consent(ledger, "op-2", LOST, **other),)))


def test_a_signature_for_fewer_lost_sns_does_not_count_for_more(ledger: Ledger) -> None:
    ledger.join("sn-3", "SN", AUTHORITIES["org-3"])
    signed = consent(ledger, "op-2", LOST)
    with pytest.raises(Rejection, match="bad-signature"):
        send(ledger, "sn-1", Recover(("sn-2", "sn-3"), consents=(signed,)))


def test_a_signature_that_was_given_for_an_older_block_is_of_no_use_any_more(ledger: Ledger) -> None:
    body = agreed(ledger, LOST, "op-2")
    ledger.join("sl-9", "SL")
    with pytest.raises(Rejection, match="bad-signature"):
        send(ledger, "sn-1", body)


def test_an_altered_signature_is_refused(ledger: Ledger) -> None:
    signed = consent(ledger, "op-2", LOST)
    other = consent(ledger, "op-3", LOST)
    with pytest.raises(Rejection, match="bad-signature"):
        send(ledger, "sn-1", Recover(LOST.lost, consents=(Consent(signed.certificate, other.signature),)))
    with pytest.raises(Rejection, match="bad-signature"):
        send(ledger, "sn-1", Recover(LOST.lost, consents=(Consent(signed.certificate, "junk"),)))


@pytest.mark.parametrize("lost", [("sn-1",), ("sl-1",), ("sn-9",)])
def test_only_other_sns_can_be_lost(ledger: Ledger, lost: tuple[str, ...]) -> None:
    with pytest.raises(Rejection, match="unknown-node"):
        send(ledger, "sn-1", agreed(ledger, Recover(lost), "op-2"))


def test_a_recovery_that_changes_nothing_is_refused(ledger: Ledger) -> None:
    with pytest.raises(Rejection, match="no-change"):
        send(ledger, "sn-1", agreed(ledger, Recover(()), "op-2"))


def test_a_block_with_a_recovery_that_lacks_signatures_is_void_on_every_node(ledger: Ledger) -> None:
    """An SN whose program does not check seals it."""
    signed = ledger.write("sn-1", NETWORK, LOST)
    chain, time_ms = ledger.chain, ledger.chain.next_time(ledger.clock)
    raw = chain.seal([signed], chain.world, time_ms, "sn-1", ledger.actors["sn-1"].signer).raw
    why = ledger.append(raw)
    assert why
    assert "a recovery needs majority" in why
    assert admitted(ledger) == ["sn-2"], "who has sealed it is in quarantine"


# --- new authorities ------------------------------------------------------------------------------------------------

SUCCESSOR = create_authority("CA-1-next", 3650)


def test_a_recovery_brings_new_authorities_of_organisations_that_have_signed(ledger: Ledger) -> None:
    body = Recover((), authorities=(AddAuthority("org-1", anchor(SUCCESSOR)), AddAuthority("org-2", anchor(SPARE))))
    send(ledger, "sn-1", agreed(ledger, body, "op-2"))
    ledger.actors["sn-1"] = ledger.actor("sn-1", "SN", SUCCESSOR)
    ledger.actors["sn-1"].incarnation = 2
    ledger.register("sn-1")  # the same node


def test_a_recovery_brings_no_authority_of_an_organisation_that_has_not_signed(ledger: Ledger) -> None:
    body = Recover((), authorities=(AddAuthority("org-3", anchor(SPARE)),))
    with pytest.raises(Rejection, match="not-allowed: a new authority of org-3 needs a signature"):
        send(ledger, "sn-1", agreed(ledger, body, "op-2"))


def test_a_signature_does_not_count_with_another_authority_than_was_signed(ledger: Ledger) -> None:
    meant = Recover((), authorities=(AddAuthority("org-1", anchor(SUCCESSOR)),))
    signed = consent(ledger, "op-2", meant)
    with pytest.raises(Rejection, match="bad-signature"):
        send(ledger, "sn-1", Recover((), (AddAuthority("org-1", anchor(SPARE)),), (signed,)))
