"""Quotas of organisations: what one has used up it has to wait for, and nobody else notices."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.network import CONTRACT, FOUNDER, Ledger, organisation, session
from swarmlearning.identity.ca import create_authority
from swarmlearning.ledger.bodies import (
    AdmitOrganisation,
    Announce,
    Body,
    Contribution,
    CreateContract,
    Held,
    Leave,
    Publish,
    Quotas,
    Receipt,
    Register,
    ReportPerformance,
    SetPolicy,
    SetQuotas,
    Sliced,
    Submit,
)
from swarmlearning.ledger.canonical import sha256
from swarmlearning.ledger.chain import replay
from swarmlearning.ledger.codes import Code
from swarmlearning.ledger.contracts import network
from swarmlearning.ledger.contracts.network.quotas import BURST_SECONDS, Usage
from swarmlearning.ledger.contracts.rejection import Rejection
from swarmlearning.ledger.contracts.training.slices import MOST_SLICES, roots_of
from swarmlearning.rates import SECOND_US, Rate

NETWORK = network.CONTRACT
CA_1, CA_2 = (create_authority(f"CA-{number}", 3650) for number in (1, 2))
SECOND = 1000
FEW = Quotas(nodes=3, contracts=2, transactions=5, ledger_bytes=10**6, entries=100)


def two(quotas: Quotas) -> Ledger:
    """Two organisations, each with an operator and an SL; the second one has these quotas. A minute has passed."""
    made = Ledger(CA_1)
    made.join("op-1", "SWCI")
    new = msgspec.structs.replace(organisation("org-2", CA_2), quotas=quotas)
    made.send("op-1", AdmitOrganisation(new), NETWORK)
    made.join("sl-1")
    made.join("op-2", "SWCI", CA_2)
    made.join("sl-2", "SL", CA_2)
    made.clock += 60 * SECOND
    return made


@pytest.fixture
def ledger() -> Ledger:
    return two(FEW)


def announce(ledger: Ledger, uid: str) -> None:
    ledger.send(uid, Announce({}), NETWORK)


NOTHING = Announce({})


def accepted(ledger: Ledger, uid: str, body: Body = NOTHING, most: int = 1000) -> int:
    """How many times this is accepted at one time, until it is refused for a quota; at most `most`."""
    for count in range(most):
        try:
            ledger.send(uid, body, NETWORK)
        except Rejection as rejection:
            if rejection.code != Code.QUOTA:
                raise
            return count
    return most


def refused(ledger: Ledger, uid: str, body: Body, match: str, contract: str = NETWORK) -> None:
    with pytest.raises(Rejection, match=match):
        ledger.send(uid, body, contract)


# --- transactions and bytes a second --------------------------------------------------------------------------------


def test_transactions_over_the_quota_are_refused_with_quota_organisation_bound_and_time(ledger: Ledger) -> None:
    accepted(ledger, "sl-2")
    reason = r"quota: organisation org-2 has used its quota of 5 transactions a second; try again in 0\.[0-9]+ s"
    refused(ledger, "sl-2", Announce({}), reason)


def test_what_was_refused_for_a_quota_is_accepted_after_the_time_that_the_refusal_names(ledger: Ledger) -> None:
    accepted(ledger, "sl-2")
    with pytest.raises(Rejection) as refusal:
        announce(ledger, "sl-2")
    seconds = float(refusal.value.detail.rpartition(" in ")[2].removesuffix(" s"))
    ledger.clock = ledger.chain.time_ms + int(seconds * SECOND) + 1
    announce(ledger, "sl-2")


def test_in_the_long_run_an_organisation_commits_as_many_transactions_as_its_quota_allows(ledger: Ledger) -> None:
    count = 0
    for _ in range(30):
        count += accepted(ledger, "sl-2")
        ledger.clock += SECOND
    assert 5 * 30 <= count <= 5 * (30 + BURST_SECONDS) + 2


def test_large_transactions_use_up_the_quota_of_bytes(ledger: Ledger) -> None:
    ledger.send("op-1", SetQuotas("org-2", msgspec.structs.replace(FEW, transactions=1000, ledger_bytes=2000)), NETWORK)
    ledger.send("op-2", SetQuotas("org-2", msgspec.structs.replace(FEW, transactions=1000, ledger_bytes=2000)), NETWORK)
    large = Announce({str(number) + 100 * "x": 100 * "h" + ":1" for number in range(8)})
    assert accepted(ledger, "sl-2", large) < accepted(two(FEW), "sl-2")
    refused(ledger, "sl-2", Announce({}), "quota: organisation org-2 has used its quota of 2000 ledger bytes a second")


def test_no_other_organisation_notices_that_one_has_used_up_its_quota(ledger: Ledger) -> None:
    accepted(ledger, "sl-2")
    assert accepted(ledger, "sl-1", most=100) == 100


def test_operators_act_and_sns_report_while_other_nodes_of_their_organisation_flood(ledger: Ledger) -> None:
    ledger.join("sn-2", "SN", CA_2)
    accepted(ledger, "sl-2")
    for uid in ("op-2", "sn-2"):
        announce(ledger, uid)


def test_rates_do_not_apply_where_one_organisation_is_alone() -> None:
    ledger = Ledger(CA_1)
    for uid, kind in (("op-1", "SWCI"), ("sl-1", "SL")):
        ledger.join(uid, kind)  # type: ignore[arg-type]
    ledger.send("op-1", SetQuotas(FOUNDER, FEW), NETWORK)
    assert accepted(ledger, "sl-1", most=100) == 100
    assert not ledger.chain.world.area("usage/", Usage)


def test_a_block_with_a_transaction_over_the_quota_is_void(ledger: Ledger) -> None:
    together = [ledger.write("sl-2", NETWORK, Announce({})) for _ in range(100)]
    sealer = ledger.actors["sn-1"].signer
    block = ledger.chain.seal(together, ledger.chain.world, ledger.clock, "sn-1", sealer)
    assert "quota: organisation org-2" in str(ledger.append(block.raw))


def test_quotas_are_judged_alike_at_every_replay(ledger: Ledger) -> None:
    accepted(ledger, "sl-2")
    accepted(ledger, "op-2")
    assert replay(ledger.blocks).world.state_hash() == ledger.chain.world.state_hash()


# --- nodes, contracts, entries --------------------------------------------------------------------------------------


def test_an_organisation_has_no_more_nodes_than_its_quota(ledger: Ledger) -> None:
    for number in (3, 4):
        ledger.join(f"sl-2-{number}", "SL", CA_2)
    actor = ledger.actor("sl-2-5", "SL", CA_2)
    refused(ledger, "sl-2-5", Register("SL", "sl-2-5", actor.pem, "0"), "too-many: organisation org-2 has 3 nodes")


def test_an_organisation_with_all_its_nodes_still_has_operators(ledger: Ledger) -> None:
    for number in (3, 4):
        ledger.join(f"sl-2-{number}", "SL", CA_2)
    ledger.join("op-2-2", "SWCI", CA_2)


def test_many_nodes_with_one_certificate_count_as_many_nodes(ledger: Ledger) -> None:
    for number in range(3):
        ledger.actor(f"sybil-{number}", "SL", CA_2).pair = ledger.actors["sl-2"].pair
    for number in range(2):
        ledger.register(f"sybil-{number}")
    with pytest.raises(Rejection, match="too-many"):
        ledger.register("sybil-2")


def test_a_node_that_was_started_again_or_has_left_makes_no_difference_to_the_quota_of_nodes(ledger: Ledger) -> None:
    for number in (3, 4):
        ledger.join(f"sl-2-{number}", "SL", CA_2)
    ledger.actors["sl-2"].incarnation = 2
    ledger.register("sl-2")
    ledger.send("sl-2-4", Leave(), NETWORK)
    ledger.join("sl-2-5", "SL", CA_2)
    ledger.actors["sl-2-4"].incarnation = 2
    with pytest.raises(Rejection, match="too-many"):
        ledger.register("sl-2-4")


def test_nodes_that_come_and_leave_again_use_up_the_entries_of_a_day(ledger: Ledger) -> None:
    def come_and_leave() -> None:
        for number in range(100):
            ledger.clock += SECOND
            ledger.join(f"brief-{number}", "SL", CA_2)
            ledger.send(f"brief-{number}", Leave(), NETWORK)

    with pytest.raises(Rejection, match=r"quota: organisation org-2 .* quota of 100 new entries of the ledger a day"):
        come_and_leave()
    assert sum(known.organisation == "org-2" for known in network.nodes(ledger.chain.world)) < 40
    ledger.clock += 24 * 3600 * SECOND
    ledger.join("next-day", "SL", CA_2)


def test_an_organisation_owns_no_more_contracts_than_its_quota(ledger: Ledger) -> None:
    for name in ("one", "two"):
        ledger.send("op-2", CreateContract(), name)
    reason = "too-many: organisation org-2 has 2 contracts, its quota of contracts"
    refused(ledger, "op-2", CreateContract(), reason, "three")
    ledger.send("op-1", CreateContract(), "three")


def test_contracts_that_first_sessions_create_count_too(ledger: Ledger) -> None:
    for operator in ("op-1", "op-2"):
        ledger.send(operator, SetPolicy("create-contract", "none"), NETWORK)
    for name in ("one", "two"):
        ledger.send("sl-2", session(), name)
    refused(ledger, "sl-2", session(), "too-many: organisation org-2 has 2 contracts", "three")
    ledger.send("sl-1", session(), "three")


def test_a_bundle_of_too_many_certificates_is_refused_before_they_are_parsed(ledger: Ledger) -> None:
    actor = ledger.actor("sl-3", "SL", CA_2)
    junk = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n" * 60
    reason = "bad-certificate: 61 certificates in one bundle; with one come 8 intermediate ones at most"
    refused(ledger, "sl-3", Register("SL", "sl-3", actor.pem + junk, "0"), reason)


# --- changing them --------------------------------------------------------------------------------------------------


def test_quotas_are_changed_by_a_majority(ledger: Ledger) -> None:
    more = msgspec.structs.replace(FEW, nodes=7)
    ledger.send("op-2", SetQuotas("org-2", more), NETWORK)
    assert quotas(ledger) == FEW
    ledger.send("op-1", SetQuotas("org-2", more), NETWORK)
    assert quotas(ledger) == more


def quotas(ledger: Ledger) -> Quotas:
    found = network.organisation(ledger.chain.world, "org-2")
    assert found
    return found.quotas


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (SetQuotas("org-9", FEW), "unknown-organisation: no organisation org-9"),
        (SetQuotas("org-2", FEW), "no-change: organisation org-2 has these quotas already"),
    ],
)
def test_quotas_that_cannot_be_set_are_refused(ledger: Ledger, body: SetQuotas, reason: str) -> None:
    refused(ledger, "op-1", body, reason)


# --- what a round needs ---------------------------------------------------------------------------------------------

SITES, ROUNDS, ROUND_MS = 64, 12, 700
"""Rounds merged in slices, of which each takes some hundred transactions."""
"""Rounds of as many sites take longer even where a model is a few bytes and no network is between them."""


def test_the_default_quotas_never_refuse_what_rounds_of_64_sites_of_one_organisation_need() -> None:
    ledger = two(Quotas())
    sites = [f"site-{number:02}" for number in range(SITES)]
    for uid in sites:
        ledger.actor(uid, "SL", CA_2)
    commit(ledger, NETWORK, {uid: Register("SL", uid, ledger.actors[uid].pem, "0") for uid in sites})
    commit(ledger, NETWORK, {uid: Announce({"fs": "host:30305"}) for uid in sites})
    commit(ledger, CONTRACT, {uid: session(SITES) for uid in sites})
    size = 0
    for number in range(ROUNDS):
        ledger.clock += ROUND_MS
        size = play_round(ledger, sites, number)
    assert ledger.training.rounds == ROUNDS
    assert Quotas().transactions > (2 * SITES + 1 + MOST_SLICES + 8) * SECOND / ROUND_MS
    assert size * SECOND / ROUND_MS < Quotas().ledger_bytes


def play_round(ledger: Ledger, sites: list[str], number: int) -> int:
    """Plays one round, to which all sites contribute; returns the bytes of its transactions."""
    state = ledger.training
    assert state.round
    base, leader = state.round.base, state.round.leader
    models = {uid: digest(uid, number) for uid in sites}
    size = commit(ledger, CONTRACT, {uid: Submit(number, base, "trained", models[uid], 10**8, 1) for uid in sites})
    size += play_slices(ledger, sites)
    parts = tuple(Contribution(uid, models[uid], 1, 1, 1.234, 0.987) for uid in sites)
    result = digest("result", number)
    term = ledger.training.round.term if ledger.training.round else 0
    size += commit(ledger, CONTRACT, {leader: Publish(number, term, result, 10**8, Receipt("mean", parts, ()))})
    return size + commit(ledger, CONTRACT, {uid: ReportPerformance(number, 0.5, 0.9, 1, 1) for uid in sites})


def play_slices(ledger: Ledger, sites: list[str]) -> int:
    """All merge their slices, and two others state those of the leader."""
    (slicing,) = [each for each in ledger.training.slicings if ledger.training.round]
    leader = ledger.training.round.leader if ledger.training.round else ""
    size, own = 0, [index for index, each in enumerate(slicing.slices) if each.merger == leader]
    for index, each in enumerate(slicing.slices):
        root = digest("slice", index)
        size += commit(ledger, CONTRACT, {each.merger: Sliced(slicing.round, slicing.recipe, index, root)})
    slices = ledger.training.slicings[-1].slices
    for uid in [uid for uid in sites if uid != leader][:2]:
        for index in own:
            held = Held(slicing.round, slicing.recipe, (index,), roots_of(slices, [index]))
            size += commit(ledger, CONTRACT, {uid: held})
    return size


def digest(uid: str, number: int) -> str:
    return sha256(f"{uid} {number}".encode())


def commit(ledger: Ledger, contract: str, bodies: dict[str, Body]) -> int:
    """Commits them in one block; returns their bytes."""
    written = [ledger.write(uid, contract, body) for uid, body in bodies.items()]
    ledger.commit(*written)
    return sum(len(signed.raw) for signed in written)


# --- rates ----------------------------------------------------------------------------------------------------------


@given(
    st.integers(1, 5000),
    st.integers(0, 10),
    st.lists(st.tuples(st.integers(0, 3 * SECOND_US), st.integers(1, 500)), max_size=50),
)
def test_no_more_is_used_than_the_rate_allows_in_any_span(
    amount: int, burst: int, requests: list[tuple[int, int]]
) -> None:
    rate, now, earned_at = Rate(amount, burst), 0, 0
    used: list[tuple[int, int]] = []
    for pause, wanted in requests:
        now += pause
        if not rate.wait_us(earned_at, now):
            earned_at = rate.after(earned_at, now, wanted)
            used.append((now, wanted))
    for first, (begin, _) in enumerate(used):
        for last, (end, newest) in enumerate(used[first:], first):
            total = sum(wanted for _, wanted in used[first : last + 1]) - newest
            assert total * SECOND_US <= amount * (end - begin + burst * SECOND_US)


def test_what_a_wait_names_is_enough_and_no_less_is() -> None:
    rate = Rate(10, 1)
    earned_at = rate.after(0, 0, 35)
    wait = rate.wait_us(earned_at, 0)
    assert wait == 2_500_000
    assert rate.wait_us(earned_at, wait) == 0
    assert rate.wait_us(earned_at, wait - 1) == 1
