"""A swarm of three SNs and four SLs in training, all of whose certificates are replaced while it runs."""

import os
import signal
import socket
import time
from collections.abc import Sequence
from datetime import datetime
from itertools import cycle

from cryptography import x509

from support.certs import KINDS, with_key
from support.processes import Process
from support.sns import Network
from support.swarm import PAUSE, SECONDS, Gate, assert_complete, growing, has_models, run
from swarmlearning.address import split
from swarmlearning.api.client import SnClient
from swarmlearning.identity.tls import client_context, peer_certificate
from swarmlearning.ledger.bodies import Register
from swarmlearning.ledger.contracts import network
from swarmlearning.ledger.history import rounds

SNS = ("SN-1", "SN-2", "SN-3")
SLS = ("SL-1", "SL-2", "SL-3", "SL-4")
NODES = (*SNS, *SLS)
GOES_ON = "This node goes on with the certificate that it has"


class Rotating:
    """`rounds` rounds, each of all four sites; the last site waits at the gate after each number in `hold_at`.

    `ends`: when the certificates end with which the nodes are started, by default not for long.
    """

    def __init__(
        self, net: Network, gate: Gate, rounds: int, hold_at: Sequence[int], ends: datetime | None = None
    ) -> None:
        self.net = net
        self._rounds = rounds
        self._kinds = cycle(KINDS)
        if ends:
            self._issue(ends)
        sns = net.found(len(SNS))
        ml = ("--rounds", str(rounds), "--min-peers", str(len(SLS)))
        held = [word for number in hold_at for word in ("--hold-at", str(number))]
        self.sites = [net.start_site(index, *ml, at=1 + index % 3) for index in (1, 2, 3)]
        self.sites.append(net.start_site(4, *ml, *held, "--gate", str(gate.path)))
        self.processes: dict[str, Process] = dict(zip(NODES, (*sns, *self.sites), strict=True))

    def until_held(self, done: int) -> None:
        """Waits until all sites but the one at the gate have given their models for the round after so many."""
        self.net.until_training(1, has_models(len(SLS) - 1, done))

    def replace_all(self) -> None:
        """Puts new certificates, with keys of several kinds, in the place of those of all nodes."""
        self._issue(None)

    def hang_up(self) -> None:
        """Tells all nodes that their files are complete."""
        for process in self.processes.values():
            os.kill(process.pid, signal.SIGHUP)

    def hang_up_in_vain(self) -> None:
        """The same for files that cannot be used; waits until each node has named them, and goes on."""
        before = {name: len(process.output) for name, process in self.processes.items()}
        self.hang_up()
        deadline = time.monotonic() + SECONDS
        for name, process in self.processes.items():
            while GOES_ON not in process.output[before[name] :]:
                assert time.monotonic() < deadline, f"{name} has not complained\n{process.output}"
                time.sleep(PAUSE)

    def until_registered(self) -> None:
        """Waits until the ledger has the present certificates of all nodes; then every server shows its own."""
        wanted = {self.net.identities[name].thumbprint for name in NODES}

        async def follow() -> None:
            async with SnClient(self.net.api(2), client_context(self.net.identities["SL-1"])) as client:
                async for chain in growing(client):
                    if wanted <= {known.certificate for known in network.nodes(chain.world)}:
                        return

        run(follow())
        for name, process in self.processes.items():
            for service in ("api", "p2p", "fs"):
                if address := process.ready.get(service):
                    assert self._shown(address) == self.net.identities[name].certificate, f"{service} of {name}"

    def assert_no_round_was_lost(self) -> None:
        """All sites end with the same model, each with its part in every round; no node has been started again."""
        assert_complete(self.sites)
        self.net.assert_one_chain(1, 2, 3)
        assert all(self.processes[name].running for name in SNS)
        walked = self.net.verified(1)
        sent = [signed.content for step in walked for signed in step.block.transactions]
        starts = [content.sender for content in sent if isinstance(content.body, Register)]
        assert len(starts) == len(set(starts)) == len(NODES) - 1  # the founder is in the genesis
        known = network.nodes(walked[-1].chain.world)
        assert [each.incarnation for each in known] == [1] * len(NODES)
        sls = sorted(each.uid for each in known if each.type == "SL")
        contributed = [sorted(record.contributed) for record in rounds(walked)]
        assert contributed == [sls] * (self._rounds + 1)  # the last one closes the session

    def _issue(self, ends: datetime | None) -> None:
        folder = self.net.directory / "cert"
        self.net.identities.update({name: with_key(folder, name, next(self._kinds), ends) for name in NODES})

    def _shown(self, address: str) -> x509.Certificate:
        with (
            socket.create_connection(split(address), SECONDS) as connection,
            client_context(self.net.identities["SL-1"]).wrap_socket(connection) as tls,
        ):
            return peer_certificate(tls)
