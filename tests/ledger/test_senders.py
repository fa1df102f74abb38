"""Who may say something: certificates judged at block time, UIDs and their incarnations, replay, anchors, roles."""

import base64
from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from support.gencert import make_authority, make_node
from support.network import CONTRACT, Actor, Ledger, parse, session
from swarmlearning.identity.ca import create_authority, issue
from swarmlearning.identity.certificates import thumbprint, to_pem
from swarmlearning.ledger.apply import apply
from swarmlearning.ledger.bodies import (
    AddAuthority,
    Announce,
    Back,
    Body,
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
from swarmlearning.ledger.chain import replay
from swarmlearning.ledger.contracts import network
from swarmlearning.ledger.contracts.network.replay import REPLAY_BITS, use_sequence
from swarmlearning.ledger.contracts.rejection import Rejection
from swarmlearning.ledger.rules import RULES
from swarmlearning.ledger.transaction import WINDOW, Anchor, SignedTransaction, sign
from swarmlearning.ledger.world import World

NETWORK = network.CONTRACT
DAY = 86_400_000
CA_1 = create_authority("CA-1", 3650)


@pytest.fixture
def ledger() -> Ledger:
    """A network with its SN, an operator and two SLs."""
    made = Ledger(CA_1)
    made.join("op", "SWCI")
    made.join("sl-1")
    made.join("sl-2")
    return made


def test_nothing_of_what_is_refused_changes_anything(ledger: Ledger) -> None:
    before = ledger.chain.world.state_hash()
    with pytest.raises(Rejection):
        ledger.commit(ledger.write("sl-1", NETWORK, Announce({})), ledger.write("sl-1", CONTRACT, Reset(True)))
    assert ledger.chain.world.state_hash() == before


# --- certificates ---------------------------------------------------------------------------------------------------


def test_a_stranger_is_refused(ledger: Ledger) -> None:
    ledger.actor("sl-3", "SL", create_authority("CA-2", 30))
    with pytest.raises(Rejection, match=r"untrusted: .*SL-sl-3.*unknown issuer.*CN=CA-2.*Add the CA certificate"):
        ledger.register("sl-3")


def test_a_stranger_whose_ca_bears_the_name_of_ours_is_refused(ledger: Ledger) -> None:
    ledger.actor("sl-3", "SL", create_authority("CA-1", 30))
    with pytest.raises(Rejection, match=r"untrusted: .*bad signature.*not from the CA"):
        ledger.register("sl-3")


def test_a_certificate_must_be_registered_first(ledger: Ledger) -> None:
    ledger.actor("sl-3", "SL")
    with pytest.raises(Rejection, match=r"unknown-certificate: .*register the node first"):
        ledger.say("sl-3", Announce({}), NETWORK)


def test_so_must_a_uid(ledger: Ledger) -> None:
    ledger.actors["sl-3"] = Actor("sl-3", "SL", ledger.actors["sl-1"].pair)
    with pytest.raises(Rejection, match="unknown-node: node sl-3 is not registered"):
        ledger.say("sl-3", Announce({}), NETWORK)


def test_who_registers_signs_with_the_certificate_it_states(ledger: Ledger) -> None:
    actor = ledger.actor("sl-3", "SL")
    other = ledger.actor("sl-4", "SL")
    with pytest.raises(Rejection, match=r"bad-certificate: .*another certificate than it states"):
        ledger.say("sl-3", Register("SL", "sl-3", other.pem, "0"), NETWORK)
    for pem in ("", actor.pem[:-40]):
        with pytest.raises(Rejection, match=r"bad-certificate|unknown-certificate"):
            ledger.say("sl-3", Register("SL", "sl-3", pem, "0"), NETWORK)


def test_the_certificate_need_not_be_sent_again(ledger: Ledger) -> None:
    ledger.actors["sl-1"].incarnation = 2
    ledger.say("sl-1", Register("SL", "sl-1", "", "0"), NETWORK)


def test_a_certificate_is_for_one_role(ledger: Ledger) -> None:
    actor = ledger.actor("sl-3", "SL")
    with pytest.raises(Rejection, match=r"bad-role: .*is for the role SL, but a SN registers.*name begins with SN-"):
        ledger.say("sl-3", Register("SN", "sl-3", actor.pem, "0"), NETWORK)


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


def test_altered_contents_are_refused(ledger: Ledger) -> None:
    true = ledger.write("sl-1", NETWORK, Announce({}))
    header, payload, signature = true.raw.split(".")
    altered = base64.urlsafe_b64decode(payload + "==").replace(b'"sequence":2', b'"sequence":3')
    with pytest.raises(Rejection, match="bad-signature: the signature does not fit"):
        ledger.commit(parse(f"{header}.{base64.urlsafe_b64encode(altered).rstrip(b'=').decode()}.{signature}"))


def test_nobody_speaks_for_another(ledger: Ledger) -> None:
    true = ledger.write("sl-1", NETWORK, Announce({}))
    with pytest.raises(Rejection, match=r"other-subject: node sl-1 belongs to CN=SL-sl-1"):
        ledger.commit(sign(true.content, ledger.actors["sl-2"].signer))


def test_a_uid_stays_with_its_subject(ledger: Ledger) -> None:
    other = ledger.actor("sl-3", "SL")
    ledger.actors["sl-1"] = Actor("sl-1", "SL", other.pair, incarnation=2)
    with pytest.raises(
        Rejection, match=r"other-subject: UID sl-1 belongs to CN=SL-sl-1.*, not to CN=SL-sl-3.*data dir"
    ):
        ledger.register("sl-1")


# --- certificates over time -----------------------------------------------------------------------------------------


def short(ledger: Ledger, uid: str, begin: timedelta = timedelta(0), incarnation: int = 1) -> Actor:
    """A certificate for one day from `begin` on."""
    start = datetime.fromtimestamp(ledger.clock / 1000, UTC) + begin
    pair = issue(CA_1, f"SL-{uid}", [], [], 1, start)
    ledger.actors[uid] = Actor(uid, "SL", pair, incarnation)
    return ledger.actors[uid]


def test_an_expired_certificate_is_refused_and_the_text_says_what_to_do(ledger: Ledger) -> None:
    short(ledger, "sl-3")
    ledger.register("sl-3")
    ledger.clock += 2 * DAY
    with pytest.raises(Rejection, match=r"untrusted: .*SL-sl-3.* expired at .*must renew it"):
        ledger.say("sl-3", session(1))


def test_expiry_never_breaks_a_replay(ledger: Ledger) -> None:
    short(ledger, "sl-3")
    ledger.register("sl-3")
    ledger.say("sl-3", session(1))
    ledger.clock += 2 * DAY
    ledger.say("sl-1", session(1))
    again = replay(ledger.blocks)
    assert (again.height, again.world.state_hash()) == (ledger.chain.height, ledger.chain.world.state_hash())


def test_the_last_second_of_a_certificate_belongs_to_it(ledger: Ledger) -> None:
    actor = short(ledger, "sl-3")
    ledger.register("sl-3")
    ledger.clock = int(actor.pair.certificate.not_valid_after_utc.timestamp()) * 1000 + 999
    ledger.say("sl-3", session(1))
    ledger.clock += 1
    with pytest.raises(Rejection, match="expired"):
        ledger.say("sl-3", Announce({}), NETWORK)


def test_a_certificate_of_tomorrow_is_refused(ledger: Ledger) -> None:
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
    ledger.say("sl-3", session(1))


def test_a_revoked_certificate_is_refused_from_the_next_transaction_on(ledger: Ledger) -> None:
    revoked = thumbprint(ledger.actors["sl-1"].pair.certificate)
    ledger.say("op", Revoke(revoked), NETWORK)
    with pytest.raises(Rejection, match=r"revoked: the certificate of CN=SL-sl-1.* has been revoked"):
        ledger.say("sl-1", session(1))
    ledger.actors["sl-1"].incarnation = 2
    with pytest.raises(Rejection, match="revoked"):
        ledger.register("sl-1")
    with pytest.raises(Rejection, match="unknown-certificate"):
        ledger.say("op", Revoke(revoked), NETWORK)
    ledger.actors["sl-1"] = Actor("sl-1", "SL", issue(CA_1, "SL-sl-1", [], [], 30), incarnation=2)
    ledger.register("sl-1")
    replay(ledger.blocks)


# --- authorities ----------------------------------------------------------------------------------------------------


def test_an_authority_is_replaced_with_an_overlap(ledger: Ledger) -> None:
    successor = create_authority("CA-2", 3650)
    ledger.actor("sl-3", "SL", successor)
    with pytest.raises(Rejection, match="untrusted"):
        ledger.register("sl-3")
    ledger.say("op", AddAuthority(to_pem(successor.certificate)), NETWORK)
    ledger.register("sl-3")
    ledger.say("sl-1", session(1))  # both are trusted
    ledger.actor("sn-2", "SN", successor)
    ledger.register("sn-2")
    retiring = ledger.write("op", NETWORK, RetireAuthority(thumbprint(CA_1.certificate)))
    assert ledger.append(ledger.seal(retiring, sealer="sn-2")) is None
    refused = ledger.write("sl-1", NETWORK, Announce({}))
    with pytest.raises(Rejection, match=r"untrusted: the authority of CN=SL-sl-1.* has been retired"):
        ledger.seal(refused, sealer="sn-2")
    trusted = ledger.write("sl-3", NETWORK, AddAuthority(to_pem(CA_1.certificate)))
    with pytest.raises(Rejection, match="not-allowed"):
        ledger.seal(trusted, sealer="sn-2")
    again = replay(ledger.blocks)
    assert again.world.state_hash() == ledger.chain.world.state_hash()
    back = ledger.write("sn-2", NETWORK, AddAuthority(to_pem(CA_1.certificate)))
    assert ledger.append(ledger.seal(back, sealer="sn-2")) is None
    with pytest.raises(Rejection, match=r"has-left: .*start it again"):
        ledger.seal(ledger.write("sl-1", NETWORK, Announce({})), sealer="sn-2")


def test_the_authority_of_the_last_sn_cannot_be_retired(ledger: Ledger) -> None:
    ledger.say("op", AddAuthority(to_pem(create_authority("CA-2", 3650).certificate)), NETWORK)
    retiring = ledger.write("op", NETWORK, RetireAuthority(thumbprint(CA_1.certificate)))
    with pytest.raises(Rejection, match=r"last-sn: .*without any SN"):
        ledger.seal(retiring)
    ledger.say("sl-1", Announce({}), NETWORK)


def test_the_certificate_of_the_last_sn_cannot_be_revoked(ledger: Ledger) -> None:
    revoking = ledger.write("op", NETWORK, Revoke(thumbprint(ledger.actors["sn-1"].pair.certificate)))
    with pytest.raises(Rejection, match=r"last-sn: .*without any SN"):
        ledger.seal(revoking)
    ledger.say("sl-1", Announce({}), NETWORK)


def test_an_sn_registers_its_renewed_certificate_itself_even_when_the_old_one_has_expired(ledger: Ledger) -> None:
    ledger.clock += 3 * 365 * DAY
    brief = issue(CA_1, "SN-sn-1", [], [], 1, datetime.fromtimestamp(ledger.clock / 1000, UTC))
    ledger.actors["sn-1"] = Actor("sn-1", "SN", brief, incarnation=2)
    ledger.register("sn-1")
    ledger.clock += 2 * DAY
    assert "expired" in (ledger.append(ledger.seal(ledger.write("sl-1", NETWORK, Announce({})))) or "")
    renewed = issue(CA_1, "SN-sn-1", [], [], 1, datetime.fromtimestamp(ledger.clock / 1000, UTC))
    ledger.actors["sn-1"] = Actor("sn-1", "SN", renewed, incarnation=3)
    ledger.register("sn-1")
    ledger.say("sl-1", Announce({}), NETWORK)
    assert replay(ledger.blocks).world.state_hash() == ledger.chain.world.state_hash()


def test_the_last_authority_stays(ledger: Ledger) -> None:
    with pytest.raises(Rejection, match=r"last-authority: .*add its successor first"):
        ledger.say("op", RetireAuthority(thumbprint(CA_1.certificate)), NETWORK)
    with pytest.raises(Rejection, match="unknown-authority"):
        ledger.say("op", RetireAuthority("0" * 64), NETWORK)


@pytest.mark.parametrize(
    ("pem", "reason"),
    [
        ("", "no certificate in PEM form"),
        (to_pem(CA_1.certificate) * 2, "one authority at a time; this file holds 2"),
        (to_pem(issue(CA_1, "SL-9", [], [], 30).certificate), "no certificate authority"),
    ],
)
def test_what_is_no_authority_is_not_trusted(ledger: Ledger, pem: str, reason: str) -> None:
    with pytest.raises(Rejection, match=f"bad-certificate: .*{reason}"):
        ledger.say("op", AddAuthority(pem), NETWORK)


# --- certificates as the original makes them ------------------------------------------------------------------------


@pytest.mark.parametrize("identifier", [True, False])
def test_one_certificate_of_the_original_serves_all_sls_of_a_host(identifier: bool) -> None:
    authority = make_authority("CA-1")
    ledger = Ledger(authority)
    shared = make_node(authority, "SL-1", ["SL-1"], authority_key_identifier=identifier)
    for uid in ("sl-1", "sl-2"):
        ledger.actors[uid] = Actor(uid, "SL", shared)
        ledger.register(uid)
        ledger.say(uid, session())
    assert ledger.training.round is not None
    for uid in ("sl-1", "sl-2"):
        ledger.say(uid, Submit(0, "", "trained", "a" * 64, 1, 1))
    assert ledger.training.round.phase == "frozen"
    replay(ledger.blocks)


def test_a_stranger_with_certificates_of_the_original_is_refused() -> None:
    ledger = Ledger(make_authority("CA-1"))
    ledger.actors["sl-1"] = Actor("sl-1", "SL", make_node(make_authority("CA-9"), "SL-1", ["SL-1"]))
    with pytest.raises(Rejection, match="untrusted"):
        ledger.register("sl-1")


# --- incarnations ---------------------------------------------------------------------------------------------------


def test_the_process_that_was_started_before_is_refused(ledger: Ledger) -> None:
    zombie = ledger.actors["sl-1"]
    ledger.actors["sl-1"] = Actor("sl-1", "SL", zombie.pair, incarnation=2)
    ledger.register("sl-1")
    ledger.actors["sl-1"] = zombie
    with pytest.raises(Rejection, match=r"old-incarnation: .*runs as incarnation 2; incarnation 1 must stop"):
        ledger.say("sl-1", session(1))
    for incarnation in (1, 2):
        zombie.incarnation = incarnation
        with pytest.raises(Rejection, match=f"old-incarnation: .*{incarnation} is not newer"):
            ledger.register("sl-1")


def test_an_incarnation_that_has_not_registered_is_refused(ledger: Ledger) -> None:
    ledger.actors["sl-1"].incarnation = 2
    with pytest.raises(Rejection, match="old-incarnation"):
        ledger.say("sl-1", session(1))


def test_a_restart_keeps_the_addresses_and_takes_the_node_out_of_the_waiting(ledger: Ledger) -> None:
    ledger.say("sl-1", Announce({"fs": "host:30305"}), NETWORK)
    ledger.say("sl-1", session(1))
    ledger.actors["sl-1"] = Actor("sl-1", "SL", ledger.actors["sl-1"].pair, incarnation=2)
    ledger.register("sl-1")
    found = network.node(ledger.chain.world, "sl-1")
    assert found is not None
    assert (found.addresses, found.incarnation, found.alive) == ({"fs": "host:30305"}, 2, True)
    assert ledger.training.members["sl-1"].attendance == "restarted"
    ledger.say("sn-1", Lost("sl-1", 2), NETWORK)
    ledger.say("sn-1", Back("sl-1", 2), NETWORK)
    assert ledger.training.members["sl-1"].attendance == "restarted"
    ledger.say("sl-1", session(1))
    assert ledger.training.members["sl-1"].present


# --- replay protection ----------------------------------------------------------------------------------------------


def test_the_same_bytes_are_accepted_once(ledger: Ledger) -> None:
    said = ledger.write("sl-1", NETWORK, Announce({}))
    ledger.commit(said)
    with pytest.raises(Rejection, match=r"replayed: sequence number 2 of node sl-1 was used already"):
        ledger.commit(said)


@given(st.lists(st.integers(1, 3 * REPLAY_BITS), max_size=200))
@example([REPLAY_BITS + 1, 1])
@example([REPLAY_BITS, 1])
def test_in_whatever_order_each_sequence_number_is_accepted_at_most_once(numbers: list[int]) -> None:
    world, accepted = World(), list[int]()
    for height, number in enumerate(numbers):
        expected = number not in accepted and number > max(accepted, default=0) - REPLAY_BITS
        if not expected:
            with pytest.raises(Rejection, match="replayed"):
                use_sequence(world, "sl-1", 1, number, height)
            continue
        world = use_sequence(world, "sl-1", 1, number, height)
        accepted.append(number)
        assert network.last_height(world, "sl-1") == height


@given(st.permutations(range(1, REPLAY_BITS + 1)))
def test_transactions_may_overtake_one_another_within_the_window(numbers: list[int]) -> None:
    world = World()
    for number in numbers:
        world = use_sequence(world, "sl-1", 1, number, 1)


def test_a_sequence_number_far_ahead_forgets_all_before_it() -> None:
    world = use_sequence(World(), "sl-1", 1, 2**31 - 1, 1)
    with pytest.raises(Rejection, match="replayed"):
        use_sequence(world, "sl-1", 1, 5, 1)


def test_each_incarnation_counts_anew_and_each_node_for_itself(ledger: Ledger) -> None:
    ledger.actors["sl-1"] = Actor("sl-1", "SL", ledger.actors["sl-1"].pair, incarnation=2)
    ledger.register("sl-1")
    windows = [ledger.chain.world.get(f"window/{uid}", network.Window) for uid in ("sl-1", "sl-2")]
    assert [(window.incarnation, window.highest) for window in windows if window] == [(2, 1), (1, 1)]


def test_a_refused_transaction_does_not_use_its_number(ledger: Ledger) -> None:
    refused = ledger.write("sl-1", CONTRACT, Reset(True))
    with pytest.raises(Rejection, match="not-allowed"):
        ledger.commit(refused)
    ledger.actors["sl-1"].sequence -= 1
    ledger.say("sl-1", Announce({}), NETWORK)


# --- place and time -------------------------------------------------------------------------------------------------


def placed(ledger: Ledger, **changes: object) -> SignedTransaction:
    """A good transaction of `sl-1`, but for these fields."""
    actor = ledger.actors["sl-1"]
    content = msgspec.structs.replace(ledger.write("sl-1", NETWORK, Announce({})).content, **changes)
    return sign(content, actor.signer)


MISPLACED: list[tuple[dict[str, object], str]] = [
    ({"network": "0" * 64}, "other-network: .*is for network 000000000000, this is"),
    ({"network": ""}, "other-network"),
    (
        {"anchor": Anchor(2, "0" * 64), "expires_at_height": 9},
        "other-chain: .*seen block 2 as 000000000000.*different chains",
    ),
    ({"anchor": Anchor(99, "0" * 64)}, "other-chain: .*here it is unknown"),
    ({"anchor": Anchor(-1, ""), "expires_at_height": 9}, "other-chain"),
    ({"expires_at_height": 3}, "expired: signed at height 3, now 4; sign it again"),
    ({"expires_at_height": 3 + WINDOW + 1}, f"malformed: .*wait {WINDOW} blocks at most"),
]


@pytest.mark.parametrize(("changes", "reason"), MISPLACED)
def test_a_transaction_holds_at_its_place_only(ledger: Ledger, changes: dict[str, object], reason: str) -> None:
    with pytest.raises(Rejection, match=reason):
        ledger.commit(placed(ledger, **changes))


def test_an_anchor_may_lie_back_and_a_transaction_wait_just_as_long(ledger: Ledger) -> None:
    signed = placed(ledger)
    anchor = signed.content.anchor

    def at(height: int) -> World:
        return apply(
            ledger.chain.world,
            signed,
            RULES[1],
            network_id=ledger.chain.network_id,
            height=height,
            time_ms=ledger.clock,
            hashes={anchor.height: anchor.hash},
        )

    at(anchor.height + WINDOW)
    with pytest.raises(Rejection, match="expired"):
        at(anchor.height + WINDOW + 1)


def test_a_sender_that_was_shown_another_chain_is_found_out(ledger: Ledger) -> None:
    shown = ledger.seal(ledger.write("sl-2", NETWORK, Announce({"fs": "host:1"})))
    other = ledger.chain.append(shown).chain
    ledger.say("sl-2", Announce({"fs": "host:2"}), NETWORK)
    with pytest.raises(Rejection, match="other-chain: the sender has seen block 4"):
        ledger.commit(placed(ledger, anchor=other.anchor, expires_at_height=9))


# --- who may say what -----------------------------------------------------------------------------------------------

PEM = to_pem(create_authority("CA-7", 30).certificate)

NOT_ALLOWED: list[tuple[str, Body, str, str]] = [
    ("sl-1", AddAuthority(PEM), NETWORK, "not-allowed: only SN, SWCI, UI may do this; sl-1 is a SL"),
    ("sl-1", RetireAuthority("0" * 64), NETWORK, "not-allowed"),
    ("sl-1", Revoke("0" * 64), NETWORK, "not-allowed"),
    ("sl-1", SwitchRules(2), NETWORK, "not-allowed"),
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
def test_not_everybody_may_say_everything(ledger: Ledger, uid: str, body: Body, contract: str, reason: str) -> None:
    with pytest.raises(Rejection, match=reason):
        ledger.say(uid, body, contract)


@pytest.mark.parametrize("operator", ["op", "sn-1"])
def test_operators_reset_a_training(ledger: Ledger, operator: str) -> None:
    ledger.say("sl-1", session())
    assert ledger.say(operator, Reset(True)).run == 1


def test_an_sn_says_who_is_lost_and_back(ledger: Ledger) -> None:
    ledger.say("sl-1", session())
    ledger.say("sn-1", Lost("sl-1", 1), NETWORK)
    assert ledger.training.members["sl-1"].attendance == "lost"
    with pytest.raises(Rejection, match="no-change: node sl-1 is already lost"):
        ledger.say("sn-1", Lost("sl-1", 1), NETWORK)
    ledger.say("sn-1", Back("sl-1", 1), NETWORK)
    assert ledger.training.members["sl-1"].present


def test_nobody_is_back_that_has_left(ledger: Ledger) -> None:
    """An SN that has not seen yet that a node has left, may believe it back; nobody would notice that it is gone."""
    ledger.say("sl-1", session())
    ledger.say("sl-1", Leave(), NETWORK)
    with pytest.raises(Rejection, match="has-left: node sl-1 has left"):
        ledger.say("sn-1", Back("sl-1", 1), NETWORK)
    assert ledger.training.members["sl-1"].attendance == "left"


def test_a_node_says_that_its_ml_process_is_lost_and_is_alive_itself(ledger: Ledger) -> None:
    ledger.say("sl-1", session())
    ledger.say("sl-1", Lost("sl-1", 1), NETWORK)
    found = network.node(ledger.chain.world, "sl-1")
    assert found is not None
    assert found.alive
    assert ledger.training.members["sl-1"].attendance == "ml-lost"


def test_a_node_that_leaves_is_lost_to_its_trainings_at_once_and_back_with_its_next_session(ledger: Ledger) -> None:
    ledger.say("sl-1", session())
    ledger.say("sl-2", session())
    ledger.say("sl-1", Leave(), NETWORK)
    after = ledger.training
    assert after.round is not None
    assert (after.members["sl-1"].attendance, after.round.leader) == ("left", "sl-2")
    with pytest.raises(Rejection, match="has-left"):
        ledger.say("sl-1", Submit(0, "", "trained", "a" * 64, 1, 1))
    ledger.actors["sl-1"].incarnation = 2
    ledger.register("sl-1")
    assert ledger.say("sl-1", session()).members["sl-1"].attendance == "present"


def test_a_leader_is_deposed_by_what_the_chain_knows_of_it(ledger: Ledger) -> None:
    ledger.say("sl-1", session())
    ledger.say("sl-2", session())
    assert ledger.training.round is not None
    leader = ledger.training.round.leader
    spoke = ledger.chain.height
    ledger.say(leader, Submit(0, "", "trained", "a" * 64, 1, 1))
    with pytest.raises(Rejection, match=f"progress: the leader spoke at height {spoke + 1}, after {spoke}"):
        ledger.say("sn-1", Depose(0, 0, 1, spoke, "lease"))
    with pytest.raises(Rejection, match="old-incarnation: the leader now runs as incarnation 1"):
        ledger.say("sn-1", Depose(0, 0, 2, spoke + 1, "lease"))
    after = ledger.say("sn-1", Depose(0, 0, 1, spoke + 1, "lease"))
    assert after.round is not None
    assert (after.round.term, {after.round.leader, leader}) == (1, {"sl-1", "sl-2"})


def test_trainings_of_other_names_do_not_touch_one_another(ledger: Ledger) -> None:
    ledger.say("sl-1", session(1), "one")
    ledger.say("sl-1", session(2, merge_method="geomedian"), "two")
    ledger.say("sn-1", Lost("sl-1", 1), NETWORK)
    states = list(ledger.chain.world.area("training/", type(ledger.training)))
    assert [(state.name, state.members["sl-1"].attendance) for state in states] == [("one", "lost"), ("two", "lost")]
