"""An SN comes back with other files than it had: a renewed certificate, or no data."""

import shutil
from functools import partial
from typing import Any

from support.certs import make_workspace
from support.sns import Network
from support.tools import needs

pytestmark = needs("etcd")


def renew(net: Network, *names: str) -> None:
    """New certificates with new keys, by the same CA and with the same subjects."""
    net.identities.update(make_workspace(net.directory / "cert", names))


def votes(uid: str, status: dict[str, Any]) -> bool:
    return [sn["part"] for sn in status["sns"] if sn["uid"] == uid] == ["voter"]


def test_an_sn_with_a_renewed_certificate_rejoins_and_votes(net: Network) -> None:
    sns = net.found(3)
    sns[1].stop()
    renew(net, "SN-2")
    assert net.start(2, through=1).ready
    net.sns[3].kill()  # the vote of SN-2 is needed from now on
    raw = net.write(1)
    assert net.offer(2, raw) is not None
    net.assert_one_chain(1, 2)


def test_all_sns_with_renewed_certificates_rejoin_together(net: Network) -> None:
    for sn in net.found(3):
        sn.stop()
    renew(net, "SN-1", "SN-2", "SN-3")
    for number in (1, 2, 3):
        net.start(number)
    assert all(net.sns[number].ready for number in (1, 2, 3))
    assert net.offer(3, net.write(2)) is not None
    net.assert_one_chain(1, 2, 3)


def test_an_sn_that_has_lost_its_data_votes_again_at_the_same_address_with_the_same_certificate(net: Network) -> None:
    sns = net.found(3)
    lost = sns[2].ready["uid"]
    for _ in range(2):
        net.sns[3].kill()
        shutil.rmtree(net.directory / "sn-3")
        uid = net.start(3, through=1).ready["uid"]
        assert uid != lost
        status = net.until_status(1, partial(votes, uid))
        assert len(status["sns"]) == 3
        assert status["fault_tolerance"].startswith("3 voters")
        net.assert_one_chain(1, 2, 3)
