"""How the UI gets on hosts: with a login that somebody has entered for this once, or with one that is kept sealed."""

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Final, NamedTuple

from swarmlearning.ui.hosts.addresses import Address, read_addresses
from swarmlearning.ui.hosts.hostkeys import ChangedHostKey, UnknownHostKey
from swarmlearning.ui.hosts.logins import NONE, Login, Secret, packed, unpacked
from swarmlearning.ui.hosts.machine import Machine
from swarmlearning.ui.hosts.secretbox import VARIABLE, SecretBox
from swarmlearning.ui.hosts.seeing import Sight
from swarmlearning.ui.hosts.ssh import connected
from swarmlearning.ui.hosts.works import Target
from swarmlearning.ui.store.hosts import Host, HostFault, Hosts, PinnedKeys

MOST_OUTPUTS: Final = 256
"""Nodes whose output is kept in memory, those read last."""


@dataclass(frozen=True)
class GivenLogin:
    """What somebody has entered. Without a secret the kept logins are meant; without a user that of each host. `keep`:
    keep it for the next time, once it has let us in."""

    user: str = ""
    password: Secret = NONE
    key: Secret = NONE
    passphrase: Secret = NONE
    keep: bool = False


class Output(NamedTuple):
    """The end of what a node has written, at the time when it was read (Unix milliseconds)."""

    at_ms: int
    text: str


class Access:
    """Opens hosts of the list. `box` seals logins; None: none are kept."""

    def __init__(self, hosts: Hosts, keys: PinnedKeys, box: SecretBox | None) -> None:
        self._hosts = hosts
        self._keys = keys
        self._box = box
        self._outputs: OrderedDict[tuple[str, str], Output] = OrderedDict()

    @property
    def keeps(self) -> bool:
        """Whether logins can be kept."""
        return self._box is not None

    async def login(self, host: Host, given: GivenLogin) -> Login:
        """The login for a host: the given one, else the kept one. Raises `UserError` where there is none."""
        if given.password or given.key:
            return Login(given.user or host.user, given.password, given.key, given.passphrase)
        sealed = await self._hosts.login(host.address)
        if not sealed:
            raise HostFault(
                "hosts.no-login", f"no login for {host.address} is given, and none is kept", address=host.address
            )
        if self._box is None:
            raise HostFault("hosts.no-box", f"the kept login cannot be opened: {VARIABLE} is not set", name=VARIABLE)
        return unpacked(await asyncio.to_thread(self._box.open, sealed, _purpose(host)))

    async def machine(self, host: Host, given: GivenLogin) -> Callable[[], AbstractAsyncContextManager[Machine]]:
        """What opens a host with a login. Raises `UserError` where there is none, and where none can be kept."""
        if given.keep and self._box is None:
            raise HostFault("hosts.no-box", f"no login can be kept: {VARIABLE} is not set", name=VARIABLE)
        login = await self.login(host, given)
        return partial(self._open, host, login, keep=given.keep and bool(given.password or given.key))

    async def target(self, host: Host, given: GivenLogin) -> Target:
        """The host to work on; what it is like afterwards is kept. Raises `UserError`."""

        async def seen(sight: Sight) -> None:
            await self._hosts.see(host.address, sight.host)
            self._keep_outputs(host.address, sight.host.at_ms, sight.outputs)

        return Target(host.layout, await self.machine(host, given), seen)

    def output(self, address: str, node: str) -> Output | None:
        """The end of a node's output as it was read last; None where it was not, or is not kept any more."""
        return self._outputs.get((address, node))

    @asynccontextmanager
    async def _open(self, host: Host, login: Login, *, keep: bool) -> AsyncIterator[Machine]:
        """The machine. Another key than the confirmed one is kept, so that it is seen. Raises `UserError`."""
        try:
            opened = connected(address_of(host), login, self._keys)
            async with opened as machine:
                if keep and self._box is not None:
                    sealed = await asyncio.to_thread(self._box.seal, packed(login), _purpose(host))
                    await self._hosts.keep_login(host.address, sealed)
                yield machine
        except (UnknownHostKey, ChangedHostKey) as error:
            await self._hosts.show_key(host.address, error.shown)
            raise

    def _keep_outputs(self, address: str, at_ms: int, outputs: Mapping[str, str]) -> None:
        for node, text in outputs.items():
            self._outputs.pop((address, node), None)
            self._outputs[address, node] = Output(at_ms, text)
        while len(self._outputs) > MOST_OUTPUTS:
            self._outputs.popitem(last=False)


def address_of(host: Host) -> Address:
    """Where its SSH server is."""
    return read_addresses(host.address)[0]


def _purpose(host: Host) -> str:
    return f"ssh {host.address}"
