"""The identities of a story: from files, or by `IDENTITY=spiffe` from a SPIFFE agent of each node's own."""

import os
from collections.abc import Sequence
from types import TracebackType
from typing import Self

from support.agent import Agents, TrustDomain
from support.certs import make_workspace
from support.sns import Network
from swarmlearning.identity.identity import Identity
from swarmlearning.identity.spiffe import fetch

WANTED = os.environ.get("IDENTITY", "")
"""`spiffe`: from agents, in one trust domain; empty: from files."""


class Identities:
    """Those of the nodes with these names, such as `SL-1`; use as a context manager, which ends the agents."""

    def __init__(self) -> None:
        """Fails for another word than `spiffe`."""
        assert WANTED in ("", "spiffe"), f"IDENTITY={WANTED}: there is IDENTITY=spiffe, and none"
        self.by_agents = bool(WANTED)
        self._agents = Agents()
        self._domain = TrustDomain("hospitals.example")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._agents.close()

    def issue(self, net: Network, names: Sequence[str]) -> dict[str, Identity]:
        """By name."""
        if not self.by_agents:
            return make_workspace(net.directory / "cert", names)
        paths = {name: "/".join(reversed(name.lower().split("-"))) for name in names}  # SL-1: 1/sl
        return {name: fetch(self._agents.start(self._domain, path).socket) for name, path in paths.items()}

    def rotate(self) -> None:
        """Every agent pushes another certificate, by a new root."""
        self._domain.prepare_root()
        self._agents.renew()
