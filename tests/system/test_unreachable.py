"""A site that others cannot fetch from, with real processes."""

from support.swarm import Gate, Swarm, assert_complete
from swarmlearning.views.names import fetch_addresses, node_names
from swarmlearning.views.render import waiting_text
from swarmlearning.views.training import waiting

PAIR = ("--min-peers", "2")
NOBODY_LISTENS = "127.0.0.1:1"


def test_a_site_that_announces_a_closed_port_does_not_stop_the_others_and_ends_with_their_model(
    swarm: Swarm, gate: Gate
) -> None:
    """They begin once it is there, too: alone they could be through before. It leads no round: that takes half a minute
    each time, and is left to the simulation."""
    swarm.start_sn()
    ml = ("--rounds", "3", *PAIR, "--hold-at", "0", "--gate", str(gate.path))
    sites = [swarm.start_sl(index, *ml) for index in (1, 2)]
    leads_no_round = {"SL_MAKE_ME_ADMIN": "False"}
    sites.append(swarm.start_sl(3, *ml, sl_fs_service=NOBODY_LISTENS, environment=leads_no_round))
    swarm.until(lambda state: len(state.members) == 3)
    gate.let(3)
    assert_complete(sites)


def test_two_sites_of_which_one_cannot_be_fetched_from_wait_quietly_and_name_its_address(swarm: Swarm) -> None:
    swarm.start_sn()
    swarm.start_sl(1, "--rounds", "1", *PAIR)
    swarm.start_sl(2, "--rounds", "1", *PAIR, sl_fs_service=NOBODY_LISTENS)
    chain = swarm.until_chain(lambda chain: bool((current := swarm.training(chain).round) and current.unreachable))
    text = waiting_text(waiting(swarm.training(chain)), node_names(chain.world), fetch_addresses(chain.world))
    assert f"site-2 (others cannot fetch models from it, at {NOBODY_LISTENS})" in text
