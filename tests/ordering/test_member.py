"""An etcd member that cannot be started."""

from pathlib import Path

import pytest

from swarmlearning.ordering.etcd.member import EtcdMember
from swarmlearning.ordering.protocols import OrderingError


async def test_a_program_that_is_gone_is_an_error_of_ordering(tmp_path: Path) -> None:
    """As while a package is upgraded: the SN tries again, it does not end."""
    member = EtcdMember(tmp_path / "etcd", tmp_path / "data", "a", "http://127.0.0.1:1")
    with pytest.raises(OrderingError, match=r"cannot start .*etcd in .*data: .*No such file"):
        await member.start(None, new=True)
    assert not member.running
    await member.stop()
