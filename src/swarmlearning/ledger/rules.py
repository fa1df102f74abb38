"""Versions of the rules: what the bytes of a block mean, what they change, and who may send them.

A chain is judged at each height by the version then in force (`SwitchRules` sets that of the blocks after it), and for
ever by that one. So what a version means never changes: a new body, another handler, permission or limit is a new
version beside the old ones.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, reduce
from operator import or_
from typing import Any, NamedTuple, TypeAlias

import msgspec

from swarmlearning.ledger import block, transaction
from swarmlearning.ledger.block import MAX_BLOCK, Block
from swarmlearning.ledger.contracts.contract import Contract, Rule
from swarmlearning.ledger.contracts.registry import KINDS, KINDS_1, KINDS_2
from swarmlearning.ledger.fields import Body
from swarmlearning.ledger.transaction import MAX_TRANSACTION, WINDOW, MalformedError, SignedTransaction, Transaction


class Limits(NamedTuple):
    """Bytes of a block and of a signed transaction; blocks that an anchor may lie behind and a transaction may wait."""

    block: int = MAX_BLOCK
    transaction: int = MAX_TRANSACTION
    window: int = WINDOW


LIMITS = Limits()


@dataclass(frozen=True)
class Rules:
    """One version of the rules. `persons`: an operator's transaction may name the person on whose behalf it is."""

    version: int
    kinds: tuple[Contract, ...]
    limits: Limits = LIMITS
    persons: bool = True

    @cached_property
    def handlers(self) -> Mapping[type[Body], tuple[Contract, Rule]]:
        """Kind and rule of each body that there is in this version."""
        return {body: (kind, rule) for kind in self.kinds for body, rule in kind.rules.items()}

    @cached_property
    def entries(self) -> Mapping[str, type[msgspec.Struct]]:
        """The structure that each area of the world holds."""
        return {area: structure for kind in self.kinds for area, structure in kind.entries.items()}

    def parse(self, raw: str) -> SignedTransaction:
        """Reads a transaction; its signature is *not* checked here. Raises `MalformedError` naming the fault."""
        signed = transaction.parse(raw, self._decoder, self.limits.transaction)
        if signed.content.on_behalf_of and not self.persons:
            raise MalformedError(f"not a transaction: rules version {self.version} knows no on_behalf_of")
        return signed

    def read(self, raw: bytes) -> Block:
        """Parses a block. Raises `MalformedError`; verifies no signature."""
        return block.read(raw, self.parse, self.limits.block)

    def body(self, text: str) -> Body:
        """The body with this canonical JSON, as a proposal keeps it. Raises `msgspec.DecodeError`."""
        found: Body = self._body_decoder.decode(text)
        return found

    @cached_property
    def _decoder(self) -> msgspec.json.Decoder[Transaction]:
        bodies: Any = reduce(or_, self.handlers)
        return msgspec.json.Decoder(Transaction[bodies])

    @cached_property
    def _body_decoder(self) -> msgspec.json.Decoder[Any]:
        bodies: Any = reduce(or_, self.handlers)
        return msgspec.json.Decoder(bodies)


Rulebook: TypeAlias = Mapping[int, Rules]
"""The rules by version."""

RULES: Rulebook = {1: Rules(1, KINDS_1, persons=False), 2: Rules(2, KINDS_2), 3: Rules(3, KINDS)}
"""All versions that this program knows. 2: the kind `experiment`, and on whose behalf operators act. 3: rounds merged
in slices, and what a SWOP has reported as complete stays so."""
