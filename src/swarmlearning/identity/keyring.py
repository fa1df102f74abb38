"""The signers of a node while its certificate changes: which one is right is what the ledger has at that height."""

from swarmlearning.identity.signing import Signer


class Keyring:
    """`Signers` of one node: the newest one, and those before it for as long as the ledger may need them."""

    def __init__(self, first: Signer) -> None:
        self._newest = first
        self._signers = {first.thumbprint: first}

    def by(self, thumbprint: str) -> Signer:
        """See `Signers`."""
        return self._signers.get(thumbprint, self._newest)

    def add(self, signer: Signer) -> None:
        """From now on this one is the newest."""
        self._newest = self._signers[signer.thumbprint] = signer

    def keep(self, thumbprint: str) -> None:
        """Forgets all but this one and the newest."""
        self._signers = {each.thumbprint: each for each in (self.by(thumbprint), self._newest)}
