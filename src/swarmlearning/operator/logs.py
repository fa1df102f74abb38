"""An operator reads the logs of nodes: through whichever SN a node is connected to, and none of them is trusted."""

import asyncio
import codecs
import re
from collections import deque
from collections.abc import AsyncGenerator, Iterator
from itertools import count
from typing import Any, Final, NamedTuple

import msgspec

from swarmlearning.api.client import Refusal, SnClient, Unavailable
from swarmlearning.errors import UserError
from swarmlearning.identity.certificates import load_bundle
from swarmlearning.ledger.access import registered_peer
from swarmlearning.ledger.chain import Chain
from swarmlearning.ledger.codes import Code
from swarmlearning.ledger.contracts import network
from swarmlearning.ledger.contracts.network import Node
from swarmlearning.node.clocks import clock_ms
from swarmlearning.node.sealing import Asked, Piece, SealError, Wanted, ask, signer_of
from swarmlearning.operator.session import Operator
from swarmlearning.views.names import displayed, escaped

LONGEST_LINE: Final = 16 * 1024
"""Bytes of a line, after which it is shown as another one."""
MOST_PIECES: Final = 2048
"""Of a log that is not followed, of up to 128 KiB each: more than any node keeps."""
SHORT: Final = 2048
"""Bytes: after a shorter piece of a log that is followed, the next one is asked for after `PAUSE_SECONDS`, so that no
node has its reader ask without pause."""
PAUSE_SECONDS: Final = 0.5
DEEPEST: Final = 16
"""Levels of a report; those of our nodes have five."""
CURSOR: Final = "^[0-9:]{1,64}~([0-9a-f]{2}){0,3}$"
"""The form of a cursor: where a piece has ended, and the bytes there that are still to be shown."""
_MARK: Final = "~"
_UNFINISHED: Final = re.compile(rb"(\r|[\xc2-\xf4]|[\xe0-\xf4][\x80-\xbf]|[\xf0-\xf4][\x80-\xbf]{2})\Z")
"""The beginning of a character or of the end of a line, which goes on in the next piece."""
LOST: Final = "--- some of the log is missing here: it was overwritten before it was read ---"


class LogsError(UserError):
    """Logs cannot be read; the message gives the reason."""


class WithheldError(LogsError):
    """The node does not give what was asked for; the message has its reason, and its name."""


class Excerpt(NamedTuple):
    """A part of a log, safe to show. It need not begin or end with a line: those that follow one another are the log.

    `cursor`: what the next one is asked for by. `more`: there is more to read at once. `lost`: some of the log is
    missing before `text`, since it was overwritten before it was read.
    """

    text: str
    cursor: str
    more: bool
    lost: bool


async def excerpt(operator: Operator, node: Node, wanted: Wanted) -> Excerpt:
    """The next excerpt of a log, of about 128 KiB at most. The cursor in `wanted` is that of the one before it; with
    `wait` it waits some seconds for a log to grow. Raises `LogsError`."""
    await operator.register()
    place, _, held = wanted.cursor.rpartition(_MARK)
    piece = await Reader(operator, node).piece(msgspec.structs.replace(wanted, cursor=place))
    data = piece.data if piece.lost else bytes.fromhex(held) + piece.data
    cut = found.start() if (found := _UNFINISHED.search(data)) else len(data)
    text = data[:cut].decode(errors="replace").replace("\r\n", "\n")
    return Excerpt(escaped(text, keep="\n\t"), f"{piece.cursor}{_MARK}{data[cut:].hex()}", piece.more, piece.lost)


async def log_lines(operator: Operator, node: Node, wanted: Wanted, *, follow: bool) -> AsyncGenerator[str, None]:
    """The lines of a log, safe to show: other organisations wrote them. With `follow` those to come, too, without end.

    The operator registers first, since nodes answer only those whom the ledger knows. Raises `LogsError`.
    """
    await operator.register()
    lines, reader = _Lines(), Reader(operator, node)
    for number in count(1):
        piece = await reader.piece(msgspec.structs.replace(wanted, wait=follow))
        if piece.lost:
            yield LOST
        for text in lines.add(piece.data):
            yield text
        if not piece.more and not follow:
            break
        if (piece.more and not piece.data) or (number >= MOST_PIECES and not follow):
            raise LogsError(f"node {displayed(node.name)} sends a log that does not end")
        if len(piece.data) < SHORT and follow:
            await asyncio.sleep(PAUSE_SECONDS)
        wanted = Wanted(wanted.part, wanted.taskrunner, wanted.pair, piece.cursor)
    for text in lines.rest():
        yield text


class Whole(NamedTuple):
    """A log as far as it was read, safe to show; `lacking`: why it is not all, empty where it is."""

    text: str
    lacking: str


async def whole_log(operator: Operator, node: Node, wanted: Wanted, most: int, seconds: float) -> Whole:
    """The newest `most` bytes of a log from the beginning that is wanted, as far as they come within so many seconds.

    Raises `LogsError` where nothing of it can be read.
    """
    pieces, size, lacking, reader = deque[bytes](), 0, "", Reader(operator, node)
    try:
        async with asyncio.timeout(seconds):
            for number in count(1):
                piece = await reader.piece(wanted)
                pieces.append(piece.data)
                size += len(piece.data)
                if piece.lost:
                    lacking = "some of it was overwritten before it was read"
                while size - len(pieces[0]) > most:
                    size -= len(pieces.popleft())
                    lacking = f"only the newest {most // 10**6} MB"
                if not piece.more:
                    break
                if not piece.data or number >= MOST_PIECES:
                    lacking = "the node sends a log that does not end"
                    break
                wanted = Wanted(wanted.part, wanted.taskrunner, wanted.pair, piece.cursor)
    except TimeoutError:
        lacking = f"only what came within {seconds:.0f} s"
    except LogsError as error:
        if not pieces:
            raise
        lacking = f"it breaks off: {error}"
    lines = _Lines()
    text = "".join(f"{line}\n" for line in (*lines.add(b"".join(pieces)), *lines.rest()))
    return Whole(text, lacking)


async def report_of(operator: Operator, node: Node, seconds: float) -> dict[str, Any]:
    """What a node reports of itself: its own words, as it writes them. Raises `LogsError`."""
    try:
        async with asyncio.timeout(seconds):
            piece = await Reader(operator, node).piece(Wanted("REPORT"))
        found = msgspec.json.decode(piece.data, type=dict[str, Any])
        if _is_deep(found, DEEPEST):
            raise LogsError(f"node {displayed(node.name)} sends what is no report")
        return found
    except TimeoutError:
        raise LogsError(f"node {displayed(node.name)} has not reported within {seconds:.0f} s") from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise LogsError(f"node {displayed(node.name)} sends what is no report") from None


def _is_deep(value: Any, left: int) -> bool:
    """Whether JSON nests by more than so many levels: what walks through it does so by recursion."""
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return left < 0 or any(_is_deep(each, left - 1) for each in inner)


class Reader:
    """Asks one node, first through the SN that has answered last."""

    def __init__(self, operator: Operator, node: Node) -> None:
        self._operator = operator
        self._node = node
        self._used = ""

    async def piece(self, wanted: Wanted) -> Piece:
        """The piece that is wanted. Raises `LogsError`."""
        reasons, name = dict[str, None](), displayed(self._node.name)
        for client in sorted(self._operator.clients, key=lambda client: client.address != self._used):
            network_id = self._operator.chain.network_id
            asked = ask(self._operator.signer, network_id, self._node.uid, wanted, time_ms=clock_ms())
            try:
                found = opened(self._operator.chain, self._node.uid, asked, await self._sent(client, asked))
            except (Unavailable, Refusal, SealError) as error:
                unknown = isinstance(error, Refusal) and error.code == Code.NOT_CONNECTED
                reasons[f"it is not connected to SN {client.address}" if unknown else str(error)] = None
                continue
            self._used = client.address
            if found.refused:
                raise WithheldError(f"node {name} answers: {escaped(found.refused)}")
            return found
        raise LogsError(f"the logs of node {name} cannot be read: {'; '.join(reasons)}")

    async def _sent(self, client: SnClient, asked: Asked) -> str:
        return await client.ask_logs(self._node.uid, asked.jws)


def opened(chain: Chain, uid: str, asked: Asked, answer: str) -> Piece:
    """The content of an answer by a node of this UID. Raises `SealError` for any other."""
    thumbprint = signer_of(answer)
    peer = registered_peer(chain.world, thumbprint, chain.time_ms)
    stored = network.certificate(chain.world, thumbprint)
    if peer is None or stored is None or peer.node(uid) is None:
        raise SealError("what came as the answer is not by the node that was asked")
    return asked.opened(answer, load_bundle(stored.pem)[0])


class _Lines:
    """Bytes of a log as lines, which may come in several pieces."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._left = ""

    def add(self, data: bytes) -> Iterator[str]:
        """The lines that end in these bytes, or are too long to wait for their end."""
        *whole, self._left = (self._left + self._decoder.decode(data)).split("\n")
        while len(self._left) > LONGEST_LINE:
            whole.append(self._left[:LONGEST_LINE])
            self._left = self._left[LONGEST_LINE:]
        return map(_shown, whole)

    def rest(self) -> Iterator[str]:
        """The last line, where it has no end."""
        text = self._left + self._decoder.decode(b"", final=True)
        return map(_shown, [text] if text else [])


def _shown(text: str) -> str:
    return escaped(text.removesuffix("\r"), keep="\t")
