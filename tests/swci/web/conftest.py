"""A web mode, and the certificates of its operators and of others."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from support.certs import make_workspace
from support.webmode import WebMode, web_mode
from swarmlearning.identity.identity import Identity


@pytest.fixture(scope="session")
def identities(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Identity]:
    """`SWCI-1`, the web mode's; `UI-1`, an operator of its organisation; `SN-1`; and another organisation's `SWCI-9`,
    whose authority is trusted by the web mode's nodes."""
    folder = tmp_path_factory.mktemp("cert")
    other = make_workspace(folder / "other", ["SWCI-9"], ca_name="CA-9")
    own = folder / "own"
    make_workspace(own, [])
    name = "ca-9-cert.pem"
    (own / "ca" / "capath" / name).write_bytes((folder / "other" / "ca" / "capath" / name).read_bytes())
    mine = make_workspace(own, ["SWCI-1", "UI-1", "SN-1"])
    (folder / "other" / "ca" / "capath" / "ca-1-cert.pem").write_bytes(
        (own / "ca" / "capath" / "ca-1-cert.pem").read_bytes()
    )
    both = (folder / "other" / "ca" / "capath", other["SWCI-9"])
    return {**mine, "SWCI-9": Identity.load(None, both[0], both[1].cert_path, both[1].key_path)}


@pytest.fixture
async def web(tmp_path: Path, identities: dict[str, Identity]) -> AsyncIterator[WebMode]:
    folder = tmp_path / "usr"
    folder.mkdir()
    async with web_mode(folder, identities["SWCI-1"], identities["UI-1"]) as served:
        yield served
