"""The bridge's end of the local channel, where it stands for the ML process: one session of one contract."""

import asyncio
from pathlib import Path
from typing import cast

from swarmlearning.bridge.errors import Refused
from swarmlearning.bridge.messages import Evaluated, HandOver
from swarmlearning.bridge.remembered import Session
from swarmlearning.channel import messages
from swarmlearning.channel.address import connect
from swarmlearning.channel.framing import LENGTH, ChannelError, body_length, decode_from_sl, encode
from swarmlearning.channel.messages import FromML, FromSL
from swarmlearning.choices import CheckinMode, MergeMethod

PLATFORM = "ORIGINAL"
SEND_SECONDS = 30.0


class Local:
    """A session of the SL's local channel. All raise `Refused` when the SL refuses it, or has ended it.

    `session` is empty until the SL has opened it.
    """

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.session = ""
        self._reader = reader
        self._writer = writer
        self._sequence = 0

    @classmethod
    async def open(cls, socket: Path, session: Session) -> "Local":
        """Connects and requests the session; `receive` returns the answer."""
        try:
            local = cls(*await asyncio.open_unix_connection(sock=connect(socket)))
        except OSError as error:
            raise Refused(f"the SL node does not answer at {socket}: {error}") from error
        wanted = session.request
        await local._send(
            messages.Open(
                training_contract=wanted.contract,
                sync_frequency=wanted.sync_interval,
                min_peers=wanted.min_peers,
                merge_method=cast(MergeMethod, wanted.merge_method),
                checkin_model_on_train_end=cast(CheckinMode, wanted.checkin),
                node_weightage=wanted.weightage,
                use_adaptive_sync=wanted.adaptive,
                total_epochs=0,  # comes with each evaluation
                ml_platform=PLATFORM,
                structure=session.structure,
                holds=session.holds,
            )
        )
        return local

    async def receive(self) -> FromSL:
        """Returns the next message, whenever it comes."""
        try:
            length = body_length(await self._reader.readexactly(LENGTH.size))
            message = decode_from_sl(await self._reader.readexactly(length))
        except (OSError, asyncio.IncompleteReadError, ChannelError) as error:
            raise Refused("the SL node has ended this session; its log has the reason") from error
        if isinstance(message, messages.Failed):
            raise Refused(message.message)
        if isinstance(message, messages.Opened):
            self.session = message.session
        return message

    async def hand_over(self, request: HandOver, file: str) -> None:
        """Sends the model file `file`, for the next round or for all that follow."""
        self._sequence += 1
        kind = messages.Close if request.closing else messages.Sync
        await self._send(kind(self.session, self._sequence, file))

    async def evaluated(self, answer: Evaluated, loss: float | None, metric: float | None) -> None:
        await self._send(
            messages.Evaluated(
                self.session, self._sequence, loss, metric, max(0, answer.epochs), max(0, answer.total_epochs)
            )
        )

    async def evaluation_failed(self, text: str) -> None:
        await self._send(messages.EvaluationFailed(self.session, self._sequence, text))

    async def kill(self, ok: bool, text: str) -> None:
        await self._send(messages.Kill(self.session, ok, text))

    def close(self) -> None:
        self._writer.close()

    async def _send(self, message: FromML) -> None:
        try:
            self._writer.write(encode(message))
            async with asyncio.timeout(SEND_SECONDS):
                await self._writer.drain()
        except (OSError, TimeoutError, ChannelError) as error:
            raise Refused(f"the SL node does not accept a message: {str(error) or 'timed out'}") from error
