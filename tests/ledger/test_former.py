"""Former certificates of a node: how long the ledger keeps them, and how much that is."""

from datetime import UTC, datetime, timedelta

import pytest

from support.network import Ledger
from swarmlearning.identity.ca import KeyPair, issue
from swarmlearning.identity.certificates import thumbprint, to_pem
from swarmlearning.ledger import checkpoint
from swarmlearning.ledger.bodies import Announce, Renew, Revoke
from swarmlearning.ledger.chain import replay
from swarmlearning.ledger.contracts import network
from swarmlearning.ledger.contracts.network import Certificate, former
from swarmlearning.ledger.contracts.rejection import Rejection

NETWORK = network.CONTRACT
DAY_MS = 86_400_000


def renew(ledger: Ledger, uid: str = "sl-1", days: int = 1) -> KeyPair:
    """Another certificate for a node, which it renews to."""
    begin = datetime.fromtimestamp(ledger.clock / 1000, UTC) - timedelta(minutes=5)
    pair = ledger.actors[uid].pair = issue(ledger.authority, f"SL-{uid}", [], [], days, begin)
    ledger.send(uid, Renew(to_pem(pair.certificate)), NETWORK)
    return pair


def kept(ledger: Ledger, uid: str = "sl-1") -> list[str]:
    """Thumbprints of the certificates of a node's identity."""
    found = ledger.chain.world.area("certificate/", Certificate)
    return [each.thumbprint for each in found if each.subject == f"CN=SL-{uid},OU=Swarm-Learning"]


def test_a_former_certificate_is_kept_until_it_expires_and_forgotten_with_the_next_renewal(ledger: Ledger) -> None:
    first = thumbprint(ledger.actors["sl-1"].pair.certificate)  # for ten years
    brief = thumbprint(renew(ledger).certificate)
    newest = thumbprint(renew(ledger).certificate)
    assert set(kept(ledger)) == {first, brief, newest}
    ledger.clock += 2 * DAY_MS
    newest = thumbprint(renew(ledger).certificate)
    assert set(kept(ledger)) == {first, newest}
    assert replay(ledger.blocks).world.state_hash() == ledger.chain.world.state_hash()


def test_a_long_series_of_renewals_takes_no_more_room_than_a_short_one(ledger: Ledger) -> None:
    def size_after(renewals: int) -> int:
        for _ in range(renewals):
            ledger.clock += DAY_MS // 2
            renew(ledger)
        return len(checkpoint.encode(ledger.chain))

    hashes = size_after(20)
    per_block = (size_after(20) - hashes) / 20
    assert per_block < 120, "the hash of each block, of which a checkpoint keeps a bounded number; no certificate"


def test_a_transaction_that_was_signed_before_a_renewal_holds_after_it(ledger: Ledger) -> None:
    renew(ledger)
    before = ledger.write("sl-1", NETWORK, Announce({"api": "10.0.0.1:1"}))
    renew(ledger)
    ledger.commit(before)


def test_of_very_many_those_that_expire_first_are_forgotten(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(former, "MAX_FORMER", 2)
    long = thumbprint(ledger.actors["sl-1"].pair.certificate)
    made = [thumbprint(renew(ledger, days=days).certificate) for days in (5, 3, 9, 4)]
    assert set(kept(ledger)) == {long, made[2], made[3]}


def test_a_revoked_certificate_is_kept_until_it_expires_however_many_come_after_it(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(former, "MAX_FORMER", 1)
    stolen = renew(ledger, days=5)
    ledger.send("op", Revoke(thumbprint(stolen.certificate)), NETWORK)
    actor = ledger.actors["sl-1"]
    begin = datetime.fromtimestamp(ledger.clock / 1000, UTC) - timedelta(minutes=5)
    actor.pair, actor.incarnation = issue(ledger.authority, "SL-sl-1", [], [], 9, begin), 2
    ledger.register("sl-1")
    for _ in range(3):
        renew(ledger, days=9)
    newest = actor.pair
    actor.pair = stolen
    with pytest.raises(Rejection, match="revoked"):
        ledger.send("sl-1", Announce({}), NETWORK)
    actor.pair = newest
    ledger.clock += 6 * DAY_MS
    renew(ledger, days=9)
    assert thumbprint(stolen.certificate) not in kept(ledger)


def test_a_certificate_that_another_node_of_the_identity_uses_is_kept_though_it_has_expired(ledger: Ledger) -> None:
    shared = renew(ledger)
    ledger.actors["sl-2"].pair = shared
    ledger.actors["sl-3"] = type(ledger.actors["sl-2"])("sl-3", "SL", shared)
    ledger.register("sl-3")
    ledger.clock += 2 * DAY_MS
    renew(ledger)
    assert thumbprint(shared.certificate) in kept(ledger)
