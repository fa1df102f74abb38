"""A real SN that three organisations have founded, and what an attacker among them can send it.

Each organisation (`ca-1`, `ca-2`, `ca-3`) has its own authority. The SN is `ca-1`'s, and runs as a process of its own.
"""

import uuid
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import psutil
import pytest

from support.certs import authority_in, make_workspace
from support.crafted_certs import DAY, craft
from support.local_sn import Member, member
from support.processes import COMMAND, Process, Processes
from support.swarm import identity_options
from swarmlearning.api.client import Refusal
from swarmlearning.identity.identity import Identity
from swarmlearning.identity.workspace import Workspace
from swarmlearning.ledger.bodies import Body, NodeType
from swarmlearning.ledger.chain import Chain
from swarmlearning.ledger.contracts import network

ORGANISATIONS = ("ca-1", "ca-2", "ca-3")
FIRST = ("SN-1", "SL-1", "OPERATOR-1", "printer-7")
OTHERS = ("SL", "OPERATOR", "SN")


class Consortium:
    """The SN, and the certificates of three organisations: `SL-1`, `OPERATOR-1` are of `ca-1`, and so on."""

    def __init__(self, processes: Processes, directory: Path) -> None:
        self._processes = processes
        self._directory = directory
        self._files = directory / "cert"
        self.identities = make_workspace(self._files, FIRST)
        for number in (2, 3):
            names = [f"{kind}-{number}" for kind in OTHERS]
            self.identities |= make_workspace(self._files, names, ca_name=f"CA-{number}")
        self.identities = {name: Workspace(self._files).identity(name) for name in self.identities}
        options = {
            "host-ip": "127.0.0.1",
            "sn-api-port": "0",
            "ordering": "local",
            "data-dir": directory / "sn",
            **identity_options(self.identities["SN-1"]),
        }
        self.sn: Process = processes.node("SN", "sn", options, ["--sentinel"])

    @property
    def address(self) -> str:
        return self.sn.ready["api"]

    def operate(self, operator: str, *words: str) -> Process:
        """Runs `swarm …` to its end, as this operator."""
        host, _, port = self.address.partition(":")
        options: dict[str, str | Path] = {
            "sn-ip": host,
            "sn-api-port": port,
            "data-dir": self._directory / operator,
            **identity_options(self.identities[operator]),
        }
        named = [word for option, value in options.items() for word in (f"--{option}", value)]
        command = self._processes.start(f"{operator}-{words[0]}", *COMMAND, *words, *named)
        command.wait()
        return command

    @property
    def megabytes(self) -> float:
        """The memory of the SN that is resident."""
        return float(psutil.Process(self.sn.pid).memory_info().rss) / 1e6

    def forged(self, organisation: str, name: str, file: str = "") -> Identity:
        """A certificate of this common name by this organisation's authority, as whoever has its key can issue."""
        file = file or name
        folder = Workspace(self._directory / f"forged-{organisation}-{file}")
        authority = authority_in(self._files, organisation.upper())
        now = datetime.now(UTC)
        pair = craft(f"CN={name},OU=Swarm-Learning", authority, ca=None, begin=now - DAY, end=now + DAY)
        folder.save_node(file, pair)
        for known in ORGANISATIONS:
            copied = folder.authority_certificate(known)
            copied.parent.mkdir(parents=True, exist_ok=True)
            copied.write_bytes(Workspace(self._files).authority_certificate(known).read_bytes())
        return folder.identity(file)

    @asynccontextmanager
    async def members(self, *names: str) -> AsyncIterator[list[Member]]:
        """Registered nodes with these certificates, each with a UID of its own."""
        async with AsyncExitStack() as stack:
            made = []
            for name in names:
                kind: NodeType = name.partition("-")[0]  # type: ignore[assignment]
                node = member(self.address, self.identities[name], str(uuid.uuid4()), kind)
                made.append(await stack.enter_async_context(node))
                await made[-1].register()
            yield made

    @asynccontextmanager
    async def attacker(
        self, identity: Identity, kind: NodeType = "SL", uid: str = "", incarnation: int = 1
    ) -> AsyncIterator[Member]:
        """A node that has not registered, with this certificate."""
        async with member(self.address, identity, uid or str(uuid.uuid4()), kind, incarnation) as made:
            yield made


async def refusal(sender: Member, body: Body, contract: str = network.CONTRACT) -> Refusal:
    """The reason for which the SN refuses a transaction; fails where it accepts it."""
    with pytest.raises(Refusal) as refused:
        await sender.send(body, contract)
    return refused.value


def powers(chain: Chain) -> dict[str, object]:
    """All that decides who may do what: rules, organisations, authorities, policies, and who is shut out."""
    entries = chain.world.entries.items()
    named = {key: entry for key, entry in entries if key.startswith(("organisation/", "authority/", "policy/"))}
    out = {key for key, entry in entries if getattr(entry, "revoked", False) or getattr(entry, "left", False)}
    return {**named, "rules": network.network(chain.world).rules_version, "shut out": out}
