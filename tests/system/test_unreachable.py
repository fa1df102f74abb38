"""A site that others cannot fetch from, with real processes."""

from support.swarm import Swarm, assert_complete
from swarmlearning.views.names import fetch_addresses, node_names
from swarmlearning.views.render import waiting_text
from swarmlearning.views.training import waiting

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
    chain = swarm.until_chain(lambda chain: bool((current := swarm.training(chain).round) and current.unreachable))
    text = waiting_text(waiting(swarm.training(chain)), node_names(chain.world), fetch_addresses(chain.world))
    assert f"site-2 (others cannot fetch models from it, at {NOBODY_LISTENS})" in text
