"""The clients of SNs: one for each address, closed when it is no longer one of the network's."""

import pytest

from swarmlearning.api.client import Unavailable
from swarmlearning.identity.identity import Identity
from swarmlearning.identity.tls import client_context
from swarmlearning.node.snpool import SnPool


async def test_an_sn_s_address_has_one_client_until_it_is_no_longer_wanted(identities: dict[str, Identity]) -> None:
    pool = SnPool(client_context(identities["SL-1"]))
    here, gone = pool.client("127.0.0.1:1"), pool.client("127.0.0.1:2")
    assert pool.client("127.0.0.1:1") is here
    pool.keep(["127.0.0.1:1"])
    assert pool.client("127.0.0.1:1") is here
    assert pool.client("127.0.0.1:2") is not gone
    await pool.close()
    for client in (here, gone):
        with pytest.raises(Unavailable, match="are closed"):
            await client.status()
