"""The bytes of models that an organisation gets from one node: its quota at most, whatever it requests and when."""

from hypothesis import given, settings
from hypothesis import strategies as st

from support.governed import three
from swarmlearning.ledger.contracts import network
from swarmlearning.ledger.contracts.network.quotas import BURST_SECONDS, quotas_of
from swarmlearning.node.credentials import model_turn
from swarmlearning.rates import SECOND_US
from swarmlearning.transport.meters import Meter
from swarmlearning.transport.parties import Credential

CHAIN = three().chain
RATE = quotas_of(CHAIN.world, "org-1").model_bytes
PIECES = st.lists(st.tuples(st.integers(RATE // 4, RATE), st.integers(0, SECOND_US // 10)), min_size=30, max_size=60)
"""Bytes of a piece, and the pause in microseconds before it is requested."""


def credential(uid: str) -> Credential:
    known = network.node(CHAIN.world, uid)
    assert known is not None
    return Credential(b"", known.certificate, "")


@settings(max_examples=100, deadline=None)
@given(PIECES)
def test_an_organisation_gets_no_more_bytes_of_models_than_its_quota_has_earned(pieces: list[tuple[int, int]]) -> None:
    now = sent = 0
    meter = Meter(lambda: now)
    for size, pause in pieces:
        now += pause
        wait = model_turn(CHAIN, meter, credential("sl-2"), size)
        now += -int(-wait * SECOND_US // 1)
        sent += size
        assert sent - size <= RATE * (now / SECOND_US + BURST_SECONDS) + 1


@settings(max_examples=50, deadline=None)
@given(PIECES)
def test_an_organisation_that_uses_up_its_quota_of_model_bytes_delays_no_other_one(
    pieces: list[tuple[int, int]],
) -> None:
    meter = Meter(lambda: 0)
    for size, _ in pieces * 10:
        model_turn(CHAIN, meter, credential("sl-2"), size)
    model_turn(CHAIN, meter, credential("sl-2"), RATE * 10)
    assert model_turn(CHAIN, meter, credential("sl-2"), 1) > 0.0
    assert model_turn(CHAIN, meter, credential("sl-1"), RATE) == 0.0
