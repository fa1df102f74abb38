"""The shares of a server that organisations have, by a clock of the test's own."""

from swarmlearning.rates import SECOND_US, Rate
from swarmlearning.transport.meters import Meter
from swarmlearning.transport.parties import Credential
from swarmlearning.transport.shares import OverQuotaError, Share, Shares


class Clock:
    def __init__(self) -> None:
        self.now = 0

    def __call__(self) -> int:
        return self.now


def credential(name: str) -> Credential:
    return Credential(b"", name, "")


def organisation_of(peer: Credential) -> str:
    """`north-7` is a certificate of the organisation `north`."""
    return peer.thumbprint.partition("-")[0]


def shares(requests: int = 100, connections: int = 10, most: int = 100) -> Shares:
    return Shares(lambda peer: Share(organisation_of(peer), connections, requests), most)


def test_a_party_that_uses_more_than_its_rate_waits_as_long_as_it_needs_to_earn_it() -> None:
    clock = Clock()
    meter, rate = Meter(clock), Rate(10, 1)
    waits = [meter.turn("north", rate) for _ in range(14)]
    assert waits[:11] == [0.0] * 11
    assert waits[11:] == [0.1, 0.2, 0.3]
    clock.now += SECOND_US
    assert meter.turn("north", rate) == 0.0


def test_what_a_party_is_not_patient_enough_for_is_not_counted() -> None:
    meter, rate = Meter(Clock()), Rate(1, 0)
    assert [meter.turn("north", rate, patience=2.0) for _ in range(6)] == [0.0, 1.0, 2.0, None, None, None]


def test_one_party_waits_no_longer_because_of_another() -> None:
    meter, rate = Meter(Clock()), Rate(1, 0)
    for _ in range(100):
        meter.turn("north", rate)
    assert meter.turn("south", rate) == 0.0


def test_a_meter_forgets_parties_that_owe_nothing() -> None:
    clock = Clock()
    meter, rate = Meter(clock), Rate(1000, 1)
    for number in range(20_000):
        clock.now += SECOND_US
        meter.turn(f"address {number}", rate)
    assert len(meter._earned_at) <= 4097


def test_the_connections_of_an_organisation_count_together_whatever_certificates_it_uses() -> None:
    found = shares(connections=10)
    entered = [found.enter(credential(f"north-{number}")) for number in range(3)]
    assert entered[0] is not None
    assert found.held(entered[0]) == 3
    assert found.held(Share("south", 1, 1)) == 0
    found.leave(entered[1])
    assert found.held(entered[0]) == 2


def test_no_organisation_has_more_than_half_of_the_connections_whatever_its_quota() -> None:
    entered = shares(connections=1000, most=64).enter(credential("north-1"))
    assert entered is not None
    assert entered.connections == 32


def test_one_certificate_leaves_half_of_the_requests_to_the_others_of_its_organisation() -> None:
    found = shares(requests=100)
    waits = [found.turn(credential("north-1"), 1) for _ in range(300)]
    assert waits[-1] > 1.0
    assert found.turn(credential("north-2"), 1) < 1.1
    assert found.turn(credential("south-1"), 1) == 0.0


def test_certificates_of_one_organisation_share_its_requests() -> None:
    found = shares(requests=100)
    for number in range(100):
        for _ in range(5):
            found.turn(credential(f"north-{number}"), 1)
    assert found.turn(credential("north-100"), 1) > 2.0
    assert found.turn(credential("south-1"), 1) == 0.0


def test_requests_that_would_wait_for_too_long_are_refused_with_organisation_quota_and_time() -> None:
    found = shares(requests=2)
    refusals = []
    for _ in range(100):
        try:
            found.turn(credential("north-1"), 1)
        except OverQuotaError as error:
            refusals.append(str(error))
    assert len(refusals) > 80
    assert refusals[0] == "organisation north has used its quota of 2 requests a second; try again in 5 s"


def test_peers_without_a_share_are_not_bounded() -> None:
    found = Shares(lambda peer: None, 10)
    assert found.enter(credential("north-1")) is None
    assert [found.turn(credential("north-1"), 1000) for _ in range(100)] == [0.0] * 100
