"""Whole messages to and from the client, over the FIFOs."""

from swarmlearning.bridge import messages
from swarmlearning.bridge.errors import LostTrack, Unusable
from swarmlearning.bridge.messages import API_VERSION, HEADER, MAX_BODY, MAX_SMALL_BODY, WITH_WEIGHTS, FromClient
from swarmlearning.bridge.pipes import Pipes


class Dialogue:
    """All raise `Left`, `OutOfTurn` and `LostTrack` as `Pipes` does."""

    def __init__(self, pipes: Pipes) -> None:
        self._pipes = pipes
        self._ahead: FromClient | None = None

    async def receive(self) -> FromClient:
        """Returns the client's next message, whenever it comes. Raises `Unusable` for one that cannot be understood."""
        if message := self._ahead:
            self._ahead = None
            return message
        header = messages.read_header(bytes(await self._pipes.read(HEADER.size, begun=False)))
        limit = MAX_BODY if header.type in WITH_WEIGHTS else MAX_SMALL_BODY
        if header.size > limit:
            raise LostTrack(f"a message of {header.size} bytes is announced; type {header.type} has at most {limit}")
        body = await self._pipes.read(header.size)
        if header.version != API_VERSION:
            raise Unusable(
                "Mismatch in the Swarm API version between ML and SL containers. Expected version "
                f"{API_VERSION}, but the version received from the header is {header.version}"
            )
        return messages.decode(header.type, body)

    def put_back(self, message: FromClient) -> None:
        """Puts this message back: it is the next to be received."""
        self._ahead = message

    async def send(self, *pieces: bytes | memoryview) -> None:
        """Sends one message, in pieces."""
        await self._pipes.write(*pieces)
