"""A license server inside the test's event loop, with a clock of its own."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from support.serving import serving
from swarmlearning.api.server import Server
from swarmlearning.identity.certificates import thumbprint
from swarmlearning.identity.identity import Identity
from swarmlearning.identity.tls import client_context
from swarmlearning.license.client import LicenseClient
from swarmlearning.license.documents import License, Revocations, Signed
from swarmlearning.license.features import Feature
from swarmlearning.license.office import Office
from swarmlearning.license.rights import Rights
from swarmlearning.license.serving import license_app
from swarmlearning.license.store import LeaseStore

FOREVER = 2**52


@dataclass
class Desk:
    """An office that serves what `rights` allow. Its clocks: `now` in milliseconds, `elapsed` in seconds."""

    folder: Path
    identities: Mapping[str, Identity]
    rights: Rights
    office: Office
    server: Server
    now: int = 1_000_000
    elapsed: float = 0.0

    def client(self, name: str = "SL-1", **options: Any) -> LicenseClient:
        return LicenseClient(f"127.0.0.1:{self.server.port}", client_context(self.identities[name]), **options)

    def lend(self, features: Mapping[Feature, int], ends: int = FOREVER, *revoked: str) -> None:
        """Puts a license for so much in place of the one before."""
        self.rights = rights_for(features, ends, *revoked)


def rights_for(features: Mapping[Feature, int], ends: int = FOREVER, *revoked: str) -> Rights:
    issued = License("0" * 32, "Example", dict(features), 0, ends)
    return Rights([Signed("issuer", issued)], [Signed("issuer", Revocations(0, revoked))])


@asynccontextmanager
async def opened(
    folder: Path,
    identities: Mapping[str, Identity],
    features: Mapping[Feature, int],
    *,
    port: int = 0,
    lease_seconds: float = 60,
    **options: Any,
) -> AsyncIterator[Desk]:
    """A desk with a license for so much."""
    folder.mkdir(exist_ok=True)
    store = LeaseStore(folder / "leases.sqlite")
    made: list[Desk] = []
    office = Office(
        store,
        lambda: made[0].rights,
        lease_seconds,
        now_ms=lambda: made[0].now,
        monotonic=lambda: made[0].elapsed if made else 0,
        **options,
    )
    own = {thumbprint(anchor) for anchor in identities["LICENSE-1"].anchors}
    app = license_app(office, own.__contains__, lambda: identities["LICENSE-1"].bundles)
    try:
        async with serving(app, identities["LICENSE-1"], port=port) as server:
            made.append(Desk(folder, identities, rights_for(features), office, server))
            yield made[0]
    finally:
        store.close()
