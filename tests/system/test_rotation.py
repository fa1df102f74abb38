"""Every certificate of a running swarm is replaced: nothing is restarted, and no round is lost."""

from support.rotating import Rotating
from support.sns import Network
from support.swarm import Gate
from support.tools import needs

pytestmark = needs("etcd")


def test_all_certificates_of_three_sns_and_four_sls_are_replaced_in_a_round_which_all_of_them_end(
    net: Network, gate: Gate
) -> None:
    swarm = Rotating(net, gate, rounds=3, hold_at=[1])
    swarm.until_held(1)
    swarm.replace_all()
    swarm.until_registered()
    gate.let()
    swarm.assert_no_round_was_lost()
