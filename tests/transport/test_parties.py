"""A full server closes a connection of the busiest party."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swarmlearning.transport.parties import Party, Roster, network_of


def filled(most: int, *parties: Party) -> tuple[Roster[int], list[int | None]]:
    roster: Roster[int] = Roster(most)
    return roster, [roster.enter(number, party) for number, party in enumerate(parties)]


HONEST = Party("CA-1", "SL-1", "10.0.0.1")


def test_a_member_enters_a_server_that_few_certificates_have_filled() -> None:
    _, dropped = filled(9, *[Party("CA-1", f"evil-{number % 3}", "10.0.0.1") for number in range(9)], HONEST)
    assert dropped[:9] == [None] * 9
    assert dropped[9] in range(9)


def test_an_organisation_gains_nothing_by_issuing_itself_certificates() -> None:
    others = [Party("CA-2", f"evil-{number}", f"10.1.0.{number}") for number in range(8)]
    _, dropped = filled(8, *others, HONEST, HONEST._replace(certificate="SL-2"))
    assert dropped[8:] == [7, 6]  # the newest of the strangers', although each of their certificates has one only


def test_a_new_connection_is_closed_where_all_parties_are_equally_busy() -> None:
    _, dropped = filled(2, HONEST, Party("CA-2", "SL-2", "10.0.0.2"), Party("CA-3", "SL-3", "10.0.0.3"))
    assert dropped == [None, None, 2]


def test_the_busiest_party_cannot_push_others_out() -> None:
    evil = Party("CA-2", "evil", "10.9.9.9")
    _, dropped = filled(4, HONEST, evil, evil, evil, evil, evil)
    assert dropped == [None, None, None, None, 4, 5]


def test_the_busiest_network_of_one_certificate_gives_way() -> None:
    here, there = HONEST, HONEST._replace(network="10.0.0.2")
    _, dropped = filled(3, here, there, there, here)
    assert dropped == [None, None, None, 3]
    _, dropped = filled(3, there, there, there, here)
    assert dropped == [None, None, None, 2]


PARTIES = st.builds(Party, st.sampled_from("AB"), st.sampled_from("abc"), st.sampled_from("xy"))


@given(st.integers(1, 5), st.lists(PARTIES, max_size=30))
def test_a_roster_is_never_over_full_and_never_drops_the_only_connection_of_an_authority(
    most: int, parties: list[Party]
) -> None:
    roster: Roster[int] = Roster(most)
    here: dict[int, Party] = {}
    for number, party in enumerate(parties):
        here[number] = party
        dropped = roster.enter(number, party)
        if dropped is not None:
            gone = here.pop(dropped)
            held = [known.authority for known in here.values()].count(gone.authority)
            assert all([known.authority for known in here.values()].count(name) <= held + 1 for name in "AB")
        assert len(roster) == len(here) <= most
        for name in "abc":
            assert roster.with_certificate(name) == [known.certificate for known in here.values()].count(name)
    for number in here:
        roster.leave(number)
        roster.leave(number)
    assert len(roster) == 0


@pytest.mark.parametrize(
    ("address", "network"),
    [
        (("10.1.2.3", 5), "10.1.2.3"),
        (("::ffff:10.1.2.3", 5, 0, 0), "10.1.2.3"),
        (("2001:db8:1:2:3:4:5:6", 5, 0, 0), "2001:db8:1:2::"),
        (("2001:db8:1:2::9", 5, 0, 0), "2001:db8:1:2::"),
        (("fe80::1%eth0", 5, 0, 2), "fe80::"),
        (None, ""),
        ((), ""),
        (("no address", 5), ""),
    ],
)
def test_a_host_cannot_appear_as_many_networks(address: object, network: str) -> None:
    assert network_of(address) == network
