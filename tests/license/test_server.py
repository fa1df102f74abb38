"""The parts of a license server's process together."""

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from support.certs import make_workspace
from support.licenses import PLENTY, Issuer
from swarmlearning.identity.identity import Identity
from swarmlearning.identity.source import Latest
from swarmlearning.identity.tls import client_context
from swarmlearning.license.client import LicenseClient, NoAnswerError
from swarmlearning.license.server import ServerSettings, run_server
from swarmlearning.license.shelf import Shelf

NAMES = ("LICENSE-1", "LICENSE-2")


def of_two_authorities(folder: Path) -> tuple[Mapping[str, Identity], Mapping[str, Identity]]:
    """Two servers' identities by either authority; each trusts both."""
    old, new = (make_workspace(folder / name, NAMES, ca_name=name) for name in ("CA-1", "CA-2"))
    anchors = (*old["LICENSE-1"].anchors, *new["LICENSE-1"].anchors)
    both = [{name: replace(identity, anchors=anchors) for name, identity in each.items()} for each in (old, new)]
    return both[0], both[1]


async def test_a_certificate_by_another_authority_keeps_two_servers_together_without_a_restart(tmp_path: Path) -> None:
    old, new = of_two_authorities(tmp_path)
    issuer = Issuer(tmp_path / "licenses")
    issuer.issue(PLENTY)
    source = Latest(old["LICENSE-1"])
    ready: asyncio.Future[dict[str, str]] = asyncio.get_running_loop().create_future()
    settings = ServerSettings("127.0.0.1", 0, tmp_path / "data")
    shelf = Shelf([issuer.license], (), [issuer.public])
    working = asyncio.create_task(run_server(settings, shelf, source, ready.set_result))
    address = (await ready)["api"]

    async def refusal(identity: Identity) -> str:
        async with LicenseClient(address, client_context(identity)) as other:
            try:
                await other.changes("", 0)
            except NoAnswerError as error:
                return str(error)
            return ""

    assert await refusal(old["LICENSE-2"]) == ""
    assert "this server's own authority" in await refusal(new["LICENSE-2"])
    source.replace(new["LICENSE-1"])
    assert [await refusal(each["LICENSE-2"]) for each in (old, new)] == ["", ""]
    working.cancel()
    with pytest.raises(asyncio.CancelledError):
        await working
