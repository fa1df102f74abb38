"""The story with license servers, by `LICENSE=server`: all nodes take tokens, and the primary dies meanwhile."""

import os
import re
from collections import Counter

from operate.identifying import Identities
from support.licenses import PLENTY, Issuer, Servers, tokens
from support.sns import Network

WANTED = os.environ.get("LICENSE", "")
"""`server`: with license servers; empty: under the community license."""


class Licensing:
    """A primary on the first host and a secondary on the second, which all nodes of the story are told.

    `apls`: what profiles name; `options`: those of SWCI.
    """

    def __init__(self, net: Network, identities: Identities) -> None:
        identity = identities.issue(net, ["LICENSE-1"])["LICENSE-1"]
        issuer = Issuer(net.directory / "licenses")
        issuer.issue(PLENTY)
        servers = Servers(net.processes, issuer, identity, net.hosts)
        self._primary, self._secondary = servers.start_pair()
        net.processes.variables |= servers.variables()
        self.apls = servers.locator
        self.options = servers.options

    def lent(self) -> Counter[str]:
        """The tokens that the primary has lent so far, by the numbers of their features."""
        return tokens(self._primary)

    def kill_primary(self) -> None:
        """For good."""
        self._primary.kill()

    def given_back(self) -> Counter[str]:
        """The tokens that the secondary has taken back, by the numbers of their features."""
        return Counter(re.findall(r"INFO : (\d+):1: the token of ", self._secondary.output))


def wanted(net: Network, identities: Identities) -> Licensing | None:
    """The license servers of a story, started; None where it is to be told without. Fails for another word."""
    assert WANTED in ("", "server"), f"LICENSE={WANTED}: there is LICENSE=server, and none"
    return Licensing(net, identities) if WANTED else None
