"""Trust of a network and its end: certificates are checked at block time, against the authorities of that height."""

from datetime import UTC, datetime, timedelta

import pytest

from support.gencert import make_authority, make_node
from support.network import FOUNDER, Actor, Ledger, anchor, session
from swarmlearning.identity.ca import create_authority, issue
from swarmlearning.identity.certificates import thumbprint, to_pem
from swarmlearning.ledger.bodies import (
    AddAuthority,
    Anchor,
    Announce,
    RetireAuthority,
    Revoke,
    Submit,
)
from swarmlearning.ledger.chain import replay
from swarmlearning.ledger.contracts import network
from swarmlearning.ledger.contracts.rejection import Rejection

NETWORK = network.CONTRACT
DAY = 86_400_000
OTHER = create_authority("CA-9", 3650)


def short(ledger: Ledger, uid: str, begin: timedelta = timedelta(0), incarnation: int = 1) -> Actor:
    """A certificate for one day from `begin` on."""
    start = datetime.fromtimestamp(ledger.clock / 1000, UTC) + begin
    pair = issue(ledger.authority, f"SL-{uid}", [], [], 1, start)
    ledger.actors[uid] = Actor(uid, "SL", pair, incarnation)
    return ledger.actors[uid]


def test_an_expired_certificate_is_refused_with_advice(ledger: Ledger) -> None:
    short(ledger, "sl-3")
    ledger.register("sl-3")
    ledger.clock += 2 * DAY
    with pytest.raises(Rejection, match=r"untrusted: .*SL-sl-3.* expired at .*must renew it"):
        ledger.send("sl-3", session(1))


def test_an_expired_certificate_never_breaks_a_replay(ledger: Ledger) -> None:
    short(ledger, "sl-3")
    ledger.register("sl-3")
    ledger.send("sl-3", session(1))
    ledger.clock += 2 * DAY
    ledger.send("sl-1", session(1))
    again = replay(ledger.blocks)
    assert (again.height, again.world.state_hash()) == (ledger.chain.height, ledger.chain.world.state_hash())


def test_a_certificate_is_valid_in_its_last_second(ledger: Ledger) -> None:
    actor = short(ledger, "sl-3")
    ledger.register("sl-3")
    ledger.clock = int(actor.pair.certificate.not_valid_after_utc.timestamp()) * 1000 + 999
    ledger.send("sl-3", session(1))
    ledger.clock += 1
    with pytest.raises(Rejection, match="expired"):
        ledger.send("sl-3", Announce({}), NETWORK)


def test_a_certificate_that_is_not_yet_valid_is_refused(ledger: Ledger) -> None:
    short(ledger, "sl-3", begin=timedelta(days=1))
    with pytest.raises(Rejection, match=r"untrusted: .*not yet valid before .*check the clocks"):
        ledger.register("sl-3")
    ledger.clock += DAY + 2000
    ledger.register("sl-3")


def test_a_renewed_certificate_takes_over_with_the_next_start(ledger: Ledger) -> None:
    short(ledger, "sl-3")
    ledger.register("sl-3")
    ledger.clock += 2 * DAY
    short(ledger, "sl-3", incarnation=2)
    ledger.register("sl-3")
    ledger.send("sl-3", session(1))


def test_a_revoked_certificate_is_refused_from_the_next_transaction_on(ledger: Ledger) -> None:
    revoked = thumbprint(ledger.actors["sl-1"].pair.certificate)
    ledger.send("op", Revoke(revoked), NETWORK)
    with pytest.raises(Rejection, match=r"revoked: the certificate of CN=SL-sl-1.* has been revoked"):
        ledger.send("sl-1", session(1))
    ledger.actors["sl-1"].incarnation = 2
    with pytest.raises(Rejection, match="revoked"):
        ledger.register("sl-1")
    with pytest.raises(Rejection, match="unknown-certificate"):
        ledger.send("op", Revoke(revoked), NETWORK)
    ledger.actors["sl-1"] = Actor("sl-1", "SL", issue(ledger.authority, "SL-sl-1", [], [], 30), incarnation=2)
    ledger.register("sl-1")
    replay(ledger.blocks)


# --- authorities ----------------------------------------------------------------------------------------------------


def test_an_authority_is_replaced_with_an_overlap(ledger: Ledger) -> None:
    successor = create_authority("CA-2", 3650)
    ledger.actor("sl-3", "SL", successor)
    with pytest.raises(Rejection, match="untrusted"):
        ledger.register("sl-3")
    ledger.send("op", AddAuthority(FOUNDER, anchor(successor)), NETWORK)
    ledger.register("sl-3")
    ledger.send("sl-1", session(1))  # both are trusted
    ledger.join("sn-2", "SN", successor)
    ledger.join("op-2", "SWCI", successor)
    retiring = ledger.write("op", NETWORK, RetireAuthority(thumbprint(ledger.authority.certificate)))
    assert ledger.append(ledger.seal(retiring, sealer="sn-2")) is None
    refused = ledger.write("sl-1", NETWORK, Announce({}))
    with pytest.raises(Rejection, match=r"untrusted: .*unknown issuer"):
        ledger.seal(refused, sealer="sn-2")
    trusted = ledger.write("sl-3", NETWORK, AddAuthority(FOUNDER, anchor(ledger.authority)))
    with pytest.raises(Rejection, match="not-allowed"):
        ledger.seal(trusted, sealer="sn-2")
    again = replay(ledger.blocks)
    assert again.world.state_hash() == ledger.chain.world.state_hash()
    back = ledger.write("op-2", NETWORK, AddAuthority(FOUNDER, anchor(ledger.authority)))
    assert ledger.append(ledger.seal(back, sealer="sn-2")) is None
    with pytest.raises(Rejection, match=r"has-left: .*start it again"):
        ledger.seal(ledger.write("sl-1", NETWORK, Announce({})), sealer="sn-2")


def test_the_authority_of_the_last_sn_cannot_be_retired(ledger: Ledger) -> None:
    ledger.send("op", AddAuthority(FOUNDER, anchor(create_authority("CA-2", 3650))), NETWORK)
    retiring = ledger.write("op", NETWORK, RetireAuthority(thumbprint(ledger.authority.certificate)))
    with pytest.raises(Rejection, match=r"last-sn: .*without any SN"):
        ledger.seal(retiring)
    ledger.send("sl-1", Announce({}), NETWORK)


def test_the_certificate_of_the_last_sn_cannot_be_revoked(ledger: Ledger) -> None:
    revoking = ledger.write("op", NETWORK, Revoke(thumbprint(ledger.actors["sn-1"].pair.certificate)))
    with pytest.raises(Rejection, match=r"last-sn: .*without any SN"):
        ledger.seal(revoking)
    ledger.send("sl-1", Announce({}), NETWORK)


def test_an_sn_registers_its_renewed_certificate_itself_even_when_the_old_one_has_expired(ledger: Ledger) -> None:
    ledger.clock += 3 * 365 * DAY
    brief = issue(ledger.authority, "SN-sn-1", [], [], 1, datetime.fromtimestamp(ledger.clock / 1000, UTC))
    ledger.actors["sn-1"] = Actor("sn-1", "SN", brief, incarnation=2)
    ledger.register("sn-1")
    ledger.clock += 2 * DAY
    with pytest.raises(Rejection, match=r"untrusted: .*SN-sn-1.* expired"):
        ledger.send("sl-1", Announce({}), NETWORK)
    renewed = issue(ledger.authority, "SN-sn-1", [], [], 1, datetime.fromtimestamp(ledger.clock / 1000, UTC))
    ledger.actors["sn-1"] = Actor("sn-1", "SN", renewed, incarnation=3)
    ledger.register("sn-1")
    ledger.send("sl-1", Announce({}), NETWORK)
    assert replay(ledger.blocks).world.state_hash() == ledger.chain.world.state_hash()


def test_the_last_authority_cannot_be_retired(ledger: Ledger) -> None:
    with pytest.raises(Rejection, match=r"last-authority: .*add its successor first"):
        ledger.send("op", RetireAuthority(thumbprint(ledger.authority.certificate)), NETWORK)
    with pytest.raises(Rejection, match="unknown-authority"):
        ledger.send("op", RetireAuthority("0" * 64), NETWORK)


@pytest.mark.parametrize(
    ("pem", "reason"),
    [
        ("", "no certificate in PEM form"),
        (to_pem(OTHER.certificate) + to_pem(create_authority("CA-4", 30).certificate), "one authority at a time; .* 2"),
        (to_pem(issue(OTHER, "SL-9", [], [], 30).certificate), "no certificate authority"),
    ],
)
def test_only_one_certificate_of_an_authority_can_be_added_at_a_time(ledger: Ledger, pem: str, reason: str) -> None:
    with pytest.raises(Rejection, match=f"bad-certificate: .*{reason}"):
        ledger.send("op", AddAuthority(FOUNDER, Anchor(pem)), NETWORK)


# --- certificates as the original makes them ------------------------------------------------------------------------


@pytest.mark.parametrize("identifier", [True, False])
def test_one_certificate_of_the_original_serves_all_sls_of_a_host(identifier: bool) -> None:
    authority = make_authority("CA-1")
    ledger = Ledger(authority)
    shared = make_node(authority, "SL-1", ["SL-1"], authority_key_identifier=identifier)
    for uid in ("sl-1", "sl-2"):
        ledger.actors[uid] = Actor(uid, "SL", shared)
        ledger.register(uid)
        ledger.send(uid, session())
    assert ledger.training.round is not None
    for uid in ("sl-1", "sl-2"):
        ledger.send(uid, Submit(0, "", "trained", "a" * 64, 1, 1))
    assert ledger.training.round.phase == "frozen"
    replay(ledger.blocks)


def test_certificates_of_the_original_are_refused_too_when_their_authority_is_unknown() -> None:
    ledger = Ledger(make_authority("CA-1"))
    ledger.actors["sl-1"] = Actor("sl-1", "SL", make_node(make_authority("CA-9"), "SL-1", ["SL-1"]))
    with pytest.raises(Rejection, match="untrusted"):
        ledger.register("sl-1")
