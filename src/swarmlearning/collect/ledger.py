"""An excerpt of a ledger, as a timeline and as lines of text."""

import json
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any, Final

import msgspec

from swarmlearning.ledger.block import Block
from swarmlearning.ledger.rules import RULES
from swarmlearning.ledger.transaction import MalformedError
from swarmlearning.views.chronicle import Chronicle
from swarmlearning.views.names import displayed
from swarmlearning.views.render import clock

MOST_BLOCKS: Final = 5000
"""The newest ones."""
MOST_BYTES: Final = 64 * 2**20
LONGEST_LINE: Final = 600
_LONG: Final = ("kind", "certificate", "first", "second", "objections", "consents", "content")
"""Fields of bodies that say nothing to a reader and fill a page."""


def excerpt(
    blocks: Iterable[bytes], names: Mapping[str, str] | None = None, sns: Collection[str] = ()
) -> tuple[Chronicle, str]:
    """The timeline of these blocks, and a line for each of their transactions."""
    chronicle, lines = Chronicle(names, sns), []
    for raw in blocks:
        try:
            block = _read(raw)
        except MalformedError as error:
            lines.append(f"a block that cannot be read: {displayed(str(error), LONGEST_LINE)}")
            continue
        chronicle.add(block)
        lines.extend(_lines(block, chronicle))
    return chronicle, "".join(f"{line}\n" for line in lines)


def _read(raw: bytes) -> Block:
    """A block by the newest rules that can read it. Raises `MalformedError`."""
    failed: MalformedError | None = None
    for version in sorted(RULES, reverse=True):
        try:
            return RULES[version].read(raw)
        except MalformedError as error:
            failed = failed or error
    assert failed is not None
    raise failed


def _lines(block: Block, chronicle: Chronicle) -> Iterator[str]:
    head = f"{block.header.height} {clock(block.header.time_ms)} {block.hash[:12]}"
    for signed in block.transactions:
        content = signed.content
        body = _short(msgspec.to_builtins(content.body))
        text = displayed(json.dumps(body, ensure_ascii=False), LONGEST_LINE)
        yield f"{head} {signed.kind} by {chronicle.name(content.sender)} on {displayed(content.contract)} {text}"
    if not block.transactions:
        yield f"{head} without transactions"


def _short(value: Any) -> Any:
    """The same without what says nothing to a reader."""
    if isinstance(value, dict):
        return {name: _short(each) for name, each in value.items() if name not in _LONG}
    return [_short(each) for each in value] if isinstance(value, list | tuple) else value
