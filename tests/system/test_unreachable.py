"""A site that others cannot fetch from, with real processes."""

from support.swarm import Swarm, assert_complete

PAIR = ("--min-peers", "2")
NOBODY_LISTENS = "127.0.0.1:1"


def test_a_site_that_announces_a_closed_port_does_not_stop_the_others_and_ends_with_their_model(swarm: Swarm) -> None:
    swarm.start_sn()
    sites = [swarm.start_sl(index, "--rounds", "3", *PAIR) for index in (1, 2)]
    assert_complete([*sites, swarm.start_sl(3, "--rounds", "3", *PAIR, sl_fs_service=NOBODY_LISTENS)])


def test_two_sites_of_which_one_cannot_be_fetched_from_wait_quietly_and_name_its_address(swarm: Swarm) -> None:
    swarm.start_sn()
    swarm.start_sl(1, "--rounds", "1", *PAIR)
    swarm.start_sl(2, "--rounds", "1", *PAIR, sl_fs_service=NOBODY_LISTENS)
    swarm.until(lambda state: state.round is not None and bool(state.round.unreachable))
    (status,) = swarm.status()["trainings"]
    assert f"site-2 (others cannot fetch models from it, at {NOBODY_LISTENS})" in status["text"]
