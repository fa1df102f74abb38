"""Senders of transactions and their rights: certificates and signatures, UIDs and their incarnations, roles."""

import base64

import msgspec
import pytest

from support.network import CONTRACT, FOUNDER, Actor, Ledger, anchor, parse, session
from support.uids import uid, uuids_only
from swarmlearning.identity.ca import create_authority, issue
from swarmlearning.ledger.bodies import (
    AddAuthority,
    Announce,
    Back,
    Body,
    CreateContract,
    Depose,
    Leave,
    Lost,
    Register,
    Reset,
    RetireAuthority,
    Revoke,
    Submit,
    SwitchRules,
    Void,
)
from swarmlearning.ledger.chain import RULES_VERSION
from swarmlearning.ledger.contracts import network
from swarmlearning.ledger.contracts.rejection import Rejection
from swarmlearning.ledger.transaction import SignedTransaction, sign

NETWORK = network.CONTRACT


def test_a_refused_batch_of_transactions_leaves_the_state_unchanged(ledger: Ledger) -> None:
    before = ledger.chain.world.state_hash()
    with pytest.raises(Rejection):
        ledger.commit(ledger.write("sl-1", NETWORK, Announce({})), ledger.write("sl-1", CONTRACT, Reset(True)))
    assert ledger.chain.world.state_hash() == before


# --- certificates ---------------------------------------------------------------------------------------------------


def test_a_node_of_an_unknown_authority_cannot_register(ledger: Ledger) -> None:
    ledger.actor("sl-3", "SL", create_authority("CA-2", 30))
    with pytest.raises(Rejection, match=r"untrusted: .*SL-sl-3.*unknown issuer.*CN=CA-2.*swarm trust add"):
        ledger.register("sl-3")


def test_a_node_of_an_authority_with_only_an_equal_name_cannot_register(ledger: Ledger) -> None:
    ledger.actor("sl-3", "SL", create_authority("CA-1", 30))
    with pytest.raises(Rejection, match=r"untrusted: .*bad signature.*not from the CA"):
        ledger.register("sl-3")


def test_a_certificate_that_is_not_registered_cannot_send(ledger: Ledger) -> None:
    ledger.actor("sl-3", "SL")
    with pytest.raises(Rejection, match=r"unknown-certificate: .*register the node first"):
        ledger.send("sl-3", Announce({}), NETWORK)


def test_a_uid_that_is_not_registered_cannot_send(ledger: Ledger) -> None:
    ledger.actors["sl-3"] = Actor("sl-3", "SL", ledger.actors["sl-1"].pair)
    with pytest.raises(Rejection, match="unknown-node: node sl-3 is not registered"):
        ledger.send("sl-3", Announce({}), NETWORK)


def test_a_registration_must_be_signed_with_the_certificate_it_contains(ledger: Ledger) -> None:
    actor = ledger.actor("sl-3", "SL")
    other = ledger.actor("sl-4", "SL")
    with pytest.raises(Rejection, match=r"bad-certificate: .*another certificate than it states"):
        ledger.send("sl-3", Register("SL", "sl-3", other.pem, "0"), NETWORK)
    for pem in ("", actor.pem[:-40]):
        with pytest.raises(Rejection, match=r"bad-certificate|unknown-certificate"):
            ledger.send("sl-3", Register("SL", "sl-3", pem, "0"), NETWORK)


def test_a_later_registration_need_not_contain_the_certificate_again(ledger: Ledger) -> None:
    ledger.actors["sl-1"].incarnation = 2
    ledger.send("sl-1", Register("SL", "sl-1", "", "0"), NETWORK)


def test_a_node_cannot_register_in_another_role_than_its_certificate_has(ledger: Ledger) -> None:
    actor = ledger.actor("sl-3", "SL")
    with pytest.raises(Rejection, match=r"bad-role: .*is for the role SL, but a SN registers.*name begins with SN-"):
        ledger.send("sl-3", Register("SN", "sl-3", actor.pem, "0"), NETWORK)


def forged(signed: SignedTransaction, by: Actor, **changes: object) -> SignedTransaction:
    """`signed` with other contents, signed with the key of another, under the header of the first."""
    content = msgspec.structs.replace(signed.content, **changes)
    header = signed.raw.partition(".")[0]
    _, payload, signature = sign(content, by.signer).raw.split(".")
    return parse(f"{header}.{payload}.{signature}")


def test_a_forged_signature_is_refused(ledger: Ledger) -> None:
    true = ledger.write("sl-1", NETWORK, Announce({}))
    with pytest.raises(Rejection, match="bad-signature: the signature does not fit"):
        ledger.commit(forged(true, ledger.actors["sl-2"]))


def test_a_transaction_with_altered_contents_is_refused(ledger: Ledger) -> None:
    true = ledger.write("sl-1", NETWORK, Announce({}))
    header, payload, signature = true.raw.split(".")
    altered = base64.urlsafe_b64decode(payload + "==").replace(b'"sequence":2', b'"sequence":3')
    with pytest.raises(Rejection, match="bad-signature: the signature does not fit"):
        ledger.commit(parse(f"{header}.{base64.urlsafe_b64encode(altered).rstrip(b'=').decode()}.{signature}"))


def test_a_node_cannot_send_in_the_name_of_another(ledger: Ledger) -> None:
    true = ledger.write("sl-1", NETWORK, Announce({}))
    with pytest.raises(Rejection, match=r"other-subject: node sl-1 belongs to CN=SL-sl-1"):
        ledger.commit(sign(true.content, ledger.actors["sl-2"].signer))


def test_a_uid_cannot_be_registered_by_another_subject(ledger: Ledger) -> None:
    other = ledger.actor("sl-3", "SL")
    ledger.actors["sl-1"] = Actor("sl-1", "SL", other.pair, incarnation=2)
    with pytest.raises(
        Rejection, match=r"other-subject: UID sl-1 belongs to CN=SL-sl-1.*, not to CN=SL-sl-3.*data dir"
    ):
        ledger.register("sl-1")


def test_a_uid_belongs_to_its_identity_also_after_its_node_has_left(ledger: Ledger) -> None:
    ledger.send("sl-1", Leave(), NETWORK)
    other = ledger.actor("sl-3", "SL")
    ledger.actors["sl-1"] = Actor("sl-1", "SL", other.pair, incarnation=2)
    with pytest.raises(Rejection, match="other-subject: UID sl-1 belongs to CN=SL-sl-1"):
        ledger.register("sl-1")


# --- incarnations ---------------------------------------------------------------------------------------------------


SL_3 = uid("sl-3")


@pytest.mark.parametrize("name", ["sl-3", SL_3.upper(), SL_3[:-1], SL_3 + "0", SL_3.replace("-", "")])
def test_a_node_registers_under_a_uuid_only(ledger: Ledger, name: str) -> None:
    for each in (SL_3, name):
        ledger.actors[each] = Actor(each, "SL", issue(ledger.authority, "SL-3", [], [], 30))
    with uuids_only():
        ledger.register(SL_3)
        with pytest.raises(Rejection, match=f"bad-uid: {name} is no UID of a node: it has to be a UUID"):
            ledger.register(name)


def test_a_network_is_founded_under_a_uuid_only() -> None:
    with uuids_only(), pytest.raises(Rejection, match="bad-uid: sn-1 is no UID of a node"):
        Ledger()


def test_a_transaction_of_an_older_incarnation_is_refused(ledger: Ledger) -> None:
    zombie = ledger.actors["sl-1"]
    ledger.actors["sl-1"] = Actor("sl-1", "SL", zombie.pair, incarnation=2)
    ledger.register("sl-1")
    ledger.actors["sl-1"] = zombie
    with pytest.raises(Rejection, match=r"old-incarnation: .*runs as incarnation 2; incarnation 1 must stop"):
        ledger.send("sl-1", session(1))
    for incarnation in (1, 2):
        zombie.incarnation = incarnation
        with pytest.raises(Rejection, match=f"old-incarnation: .*{incarnation} is not newer"):
            ledger.register("sl-1")


def test_a_transaction_of_an_incarnation_that_has_not_registered_is_refused(ledger: Ledger) -> None:
    ledger.actors["sl-1"].incarnation = 2
    with pytest.raises(Rejection, match="old-incarnation"):
        ledger.send("sl-1", session(1))


def test_a_restarted_node_keeps_its_addresses_and_is_not_awaited_until_its_next_session(ledger: Ledger) -> None:
    ledger.send("sl-1", Announce({"fs": "host:30305"}), NETWORK)
    ledger.send("sl-1", session(1))
    ledger.actors["sl-1"] = Actor("sl-1", "SL", ledger.actors["sl-1"].pair, incarnation=2)
    ledger.register("sl-1")
    found = network.node(ledger.chain.world, "sl-1")
    assert found is not None
    assert (found.addresses, found.incarnation, found.alive) == ({"fs": "host:30305"}, 2, True)
    assert ledger.training.members["sl-1"].attendance == "restarted"
    ledger.send("sn-1", Lost("sl-1", 2), NETWORK)
    ledger.send("sn-1", Back("sl-1", 2), NETWORK)
    assert ledger.training.members["sl-1"].attendance == "restarted"
    ledger.send("sl-1", session(1))
    assert ledger.training.members["sl-1"].present


# --- permissions ----------------------------------------------------------------------------------------------------

ANCHOR = anchor(create_authority("CA-7", 30))

NOT_ALLOWED: list[tuple[str, Body, str, str]] = [
    ("sl-1", AddAuthority(FOUNDER, ANCHOR), NETWORK, "not-allowed: only SWCI, UI, OPERATOR may do this; sl-1 is a SL"),
    ("sn-1", AddAuthority(FOUNDER, ANCHOR), NETWORK, "not-allowed"),
    ("sl-1", RetireAuthority("0" * 64), NETWORK, "not-allowed"),
    ("sl-1", Revoke("0" * 64), NETWORK, "not-allowed"),
    ("sl-1", SwitchRules(RULES_VERSION + 1), NETWORK, "not-allowed"),
    ("sl-1", Lost("sl-2", 1), NETWORK, "not-allowed: only SN"),
    ("sl-1", Back("sl-2", 1), NETWORK, "not-allowed: only SN"),
    ("op", Lost("sl-2", 1), NETWORK, "not-allowed: only SN"),
    ("sn-1", Lost("sl-9", 1), NETWORK, "unknown-node: no node sl-9"),
    ("sn-1", Lost("sl-1", 2), NETWORK, "old-incarnation: .*now runs as incarnation 1, not 2"),
    ("sn-1", Back("sl-1", 1), NETWORK, "no-change: node sl-1 is already alive"),
    ("sn-1", session(), CONTRACT, "not-allowed: only SL may do this; sn-1 is a SN"),
    ("op", session(), CONTRACT, "not-allowed"),
    ("sl-1", Void(0), CONTRACT, "not-allowed: only SN"),
    ("sl-1", Reset(True), CONTRACT, "not-allowed"),
    ("sl-1", Depose(0, 0, 1, 9, "lease"), CONTRACT, "no-round"),
    ("sl-1", session(), NETWORK, "wrong-contract: OpenSession needs the name of a training contract"),
    ("sn-1", Lost("sl-1", 1), CONTRACT, "wrong-contract: Lost belongs to contract network"),
    (
        "sl-1",
        Announce(dict.fromkeys("123456789", "host:1")),
        NETWORK,
        "too-many-addresses: 9 addresses; at most 8",
    ),
    ("sl-1", Announce({"fs": "host:1", "api": "host"}), NETWORK, "bad-address: 'host' is no address"),
]


@pytest.mark.parametrize(("uid", "body", "contract", "reason"), NOT_ALLOWED)
def test_a_transaction_that_its_sender_may_not_send_is_refused(
    ledger: Ledger, uid: str, body: Body, contract: str, reason: str
) -> None:
    with pytest.raises(Rejection, match=reason):
        ledger.send(uid, body, contract)


def test_an_operator_may_reset_a_training(ledger: Ledger) -> None:
    ledger.send("sl-1", session())
    assert ledger.send("op", Reset(True)).run == 2


def test_an_sn_reports_a_node_as_lost_and_as_returned(ledger: Ledger) -> None:
    ledger.send("sl-1", session())
    ledger.send("sn-1", Lost("sl-1", 1), NETWORK)
    assert ledger.training.members["sl-1"].attendance == "lost"
    with pytest.raises(Rejection, match="no-change: node sl-1 is already lost"):
        ledger.send("sn-1", Lost("sl-1", 1), NETWORK)
    ledger.send("sn-1", Back("sl-1", 1), NETWORK)
    assert ledger.training.members["sl-1"].present


def test_a_node_that_has_left_cannot_be_reported_as_returned(ledger: Ledger) -> None:
    """An SN that has not seen yet that a node has left, may believe it back; nobody would notice that it is gone."""
    ledger.send("sl-1", session())
    ledger.send("sl-1", Leave(), NETWORK)
    with pytest.raises(Rejection, match="has-left: node sl-1 has left"):
        ledger.send("sn-1", Back("sl-1", 1), NETWORK)
    assert ledger.training.members["sl-1"].attendance == "left"


def test_a_node_that_reports_its_ml_process_as_lost_is_itself_alive(ledger: Ledger) -> None:
    ledger.send("sl-1", session())
    ledger.send("sl-1", Lost("sl-1", 1), NETWORK)
    found = network.node(ledger.chain.world, "sl-1")
    assert found is not None
    assert found.alive
    assert ledger.training.members["sl-1"].attendance == "ml-lost"


def test_a_node_that_leaves_is_lost_to_its_trainings_at_once_and_present_with_its_next_session(ledger: Ledger) -> None:
    ledger.send("sl-1", session())
    ledger.send("sl-2", session())
    ledger.send("sl-1", Leave(), NETWORK)
    after = ledger.training
    assert after.round is not None
    assert (after.members["sl-1"].attendance, after.round.leader) == ("left", "sl-2")
    with pytest.raises(Rejection, match="has-left"):
        ledger.send("sl-1", Submit(0, "", "trained", "a" * 64, 1, 1))
    ledger.actors["sl-1"].incarnation = 2
    ledger.register("sl-1")
    assert ledger.send("sl-1", session()).members["sl-1"].attendance == "present"


def test_a_leader_is_deposed_only_as_the_incarnation_and_height_that_the_chain_shows(ledger: Ledger) -> None:
    ledger.send("sl-1", session())
    ledger.send("sl-2", session())
    assert ledger.training.round is not None
    leader = ledger.training.round.leader
    seen = ledger.chain.height
    ledger.send(leader, Submit(0, "", "trained", "a" * 64, 1, 1))
    other = "sl-1" if leader == "sl-2" else "sl-2"
    with pytest.raises(Rejection, match=f"progress: the leader sent a transaction at height {seen + 1}, after {seen}"):
        ledger.send(other, Depose(0, 0, 1, seen, "progress"))
    with pytest.raises(Rejection, match="old-incarnation: the leader now runs as incarnation 1"):
        ledger.send(other, Depose(0, 0, 2, seen + 1, "progress"))
    ledger.send(other, Depose(0, 0, 1, seen + 1, "progress"))
    after = ledger.send("sn-1", Depose(0, 0, 1, seen + 1, "progress"))
    assert after.round is not None
    assert (after.round.term, {after.round.leader, leader}) == (1, {"sl-1", "sl-2"})


def test_an_sn_alone_does_not_depose_a_leader_that_is_there(ledger: Ledger) -> None:
    ledger.send("sl-1", session())
    before = ledger.send("sl-2", session()).round
    assert before is not None
    seen = network.last_height(ledger.chain.world, before.leader)
    with pytest.raises(Rejection, match=r"still-held: the SNs have not reported the leader .* as lost"):
        ledger.send("sn-1", Depose(0, 0, 1, seen, "lease"))


def test_trainings_of_different_names_are_independent(ledger: Ledger) -> None:
    for name in ("one", "two"):
        ledger.send("op", CreateContract(), name)
    ledger.send("sl-1", session(1), "one")
    ledger.send("sl-1", session(2, merge_method="geomedian"), "two")
    ledger.send("sn-1", Lost("sl-1", 1), NETWORK)
    states = list(ledger.chain.world.area("training/", type(ledger.training)))
    assert [(state.name, state.members["sl-1"].attendance) for state in states] == [("one", "lost"), ("two", "lost")]
