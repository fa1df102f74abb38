"""An SN to which a node is connected that answers requests for its log."""

from support.network import Ledger
from swarmlearning.node.sealing import Piece, Wanted, read_ask, seal


class CarryingSn:
    """`answers` has what the node says, the last of it again and again; `signed_by` who signs it, `asker` who asks."""

    def __init__(
        self, ledger: Ledger, *answers: Piece, address: str = "sn:1", signed_by: str = "sl-2", asker: str = "op-2"
    ) -> None:
        self.address = address
        self.asked: list[Wanted] = []
        self._ledger = ledger
        self._answers = list(answers)
        self._signer = signed_by
        self._asker = asker

    async def ask_logs(self, uid: str, jws: str) -> str:
        found = read_ask(jws, self._ledger.actors[self._asker].pair.certificate)
        self.asked.append(found.wanted)
        piece = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        return seal(self._ledger.actors[self._signer].signer, jws, found.key, piece)
