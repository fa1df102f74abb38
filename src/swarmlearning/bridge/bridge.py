"""The exchanges: requests of the original's client passed on to our SL, and its answers passed back.

    client                    bridge                         SL (local channel)
    OpenSession ────────────▶ remembers it
                ◀──────────── SessionResponse
    weights, SyncRequest ───▶ model file; at first Open ───▶
                                        Sync ──────────────▶
                ◀──────────── weights, LossRequest ◀──────── Merged
    LossResponse ───────────▶           Evaluated ─────────▶
                ◀──────────── SyncResponse ◀──────────────── Synced

A session's Open needs the model's structure, which the original's first message does not have. So a session is opened
with its first weights, and a refusal by the swarm is the answer to those.

The client loads a merged model only on a `LossRequest`. Where the SL has nothing newer for it (training was over before
its last request), the bridge shows it the last one again, so that it ends with the swarm's model and not with its own.
"""

import asyncio
import logging
import math
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import msgspec

from swarmlearning.bridge import messages
from swarmlearning.bridge.access import Access
from swarmlearning.bridge.dialogue import Dialogue
from swarmlearning.bridge.errors import Aborted, BridgeError, Left, LostTrack, OutOfTurn, Refused, Unusable
from swarmlearning.bridge.local import Local
from swarmlearning.bridge.messages import OK, Code, Evaluated, HandOver, KillSession, OpenSession, Status
from swarmlearning.bridge.pipes import Pipes
from swarmlearning.bridge.place import MERGED, Place
from swarmlearning.bridge.remembered import Memory, Session
from swarmlearning.bridge.weights import model_from_message, model_from_pickle, model_to_message, model_to_pickle
from swarmlearning.channel.messages import (
    SPARE_FILE,
    Closed,
    FromSL,
    Merged,
    Synced,
    TensorSpec,
)
from swarmlearning.choices import CheckinMode, MergeMethod
from swarmlearning.tensors.file import TensorFileError

logger = logging.getLogger("swarm.bridge")

REQUEST_VARIABLE, RESPONSE_VARIABLE = "SL_REQUEST_CHANNEL", "SL_RESPONSE_CHANNEL"


@dataclass(frozen=True)
class BridgeSettings:
    """The two FIFOs, the folder for files with weights, and the group that may use them besides this user, if any."""

    request: Path
    response: Path
    directory: Path
    group: int | None = None

    @property
    def variables(self) -> dict[str, str]:
        """The name by which the client finds the FIFOs; the folder is built into it."""
        return {REQUEST_VARIABLE: str(self.request), RESPONSE_VARIABLE: str(self.response)}


class Bridge:
    """Serves one client after the other, beside an SL whose local channel is the socket `channel`.

    `state` is a folder for what outlives a restart.
    """

    def __init__(self, settings: BridgeSettings, channel: Path, state: Path) -> None:
        self._channel = channel
        access = Access(settings.group)
        self._pipes = Pipes(settings.request, settings.response, access)
        self._client = Dialogue(self._pipes)
        self._place = Place(settings.directory, access)
        self._memory = Memory(state)
        self._session: Session | None = None
        self._local: Local | None = None
        self._there = False  # True once an ML process had the pipes open
        self._files = self._losses = 0

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        """Serves clients beside the block.

        Raises `BridgeError` when the bridge cannot be set up, and with `OSError` where it cannot go on.
        """
        self._prepare()
        try:
            async with asyncio.TaskGroup() as tasks:
                work = tasks.create_task(self._run())
                yield
                work.cancel()
        finally:
            self._close()

    def _prepare(self) -> None:
        """Makes and opens what the client looks for. Raises `BridgeError`."""
        logger.info("Opening pipes to communicate with user container ...")
        self._place.prepare()
        try:
            self._there = self._pipes.open()
        except BridgeError:
            self._place.close()
            raise

    async def _run(self) -> None:
        await self._resume()
        while True:
            await self._serve()

    def _close(self) -> None:
        self._disconnect()
        if self._session is None:  # else the client trains on, and finds the SL again by its open pipes
            self._pipes.remove()
        self._pipes.close()
        self._place.close()

    # --- one client after the other

    async def _resume(self) -> None:
        """Continues the session of an ML process that has trained while the SL was away."""
        session = self._memory.load()
        if session is None or not self._there:
            self._memory.forget()
            return
        logger.info("The ML process is still running; its session continues")
        self._session = session
        if session.structure:
            with suppress(Refused):  # it is requested again with the next weights
                self._local = await Local.open(self._channel, session)

    async def _serve(self) -> None:
        """One request and its answer; what goes wrong costs one client its session."""
        try:
            try:
                await self._handle(await self._client.receive())
            except Unusable as error:
                logger.error("%s", error)
                await self._client.send(messages.status(Code.ERROR_IN_USER, str(error)))
        except OutOfTurn as error:
            logger.warning("%s: it has been started again", error)
            self._end_session()
        except Left as left:
            logger.info("The ML process has left (%s)", left)
            self._end_session()
            self._pipes.expect()
        except LostTrack as error:
            logger.error("%s. The pipes are created again", error)
            self._pipes.write_now(messages.status(Code.ERROR_OTHERS, str(error)))
            self._end_session()
            self._pipes.renew()

    async def _handle(self, message: messages.FromClient) -> None:
        match message:
            case OpenSession():
                await self._open_session(message)
            case HandOver():
                await self._exchange(message)
            case KillSession():
                await self._kill(message)
            case Evaluated():
                raise Unusable("a LossResponse came where nothing was to be evaluated")

    async def _open_session(self, request: OpenSession) -> None:
        self._end_session()
        if problem := _objection(request):
            await self._client.send(messages.session_response(Status(Code.ERROR_IN_USER, problem), ""))
            return
        try:
            session = self._remember(Session(secrets.token_hex(8), request))
        except OSError as error:
            await self._client.send(messages.session_response(Status(Code.ERROR_IN_SL, str(error)), ""))
        else:
            await self._client.send(messages.session_response(OK, session.id))

    async def _kill(self, message: KillSession) -> None:
        """Ends the session of a client that leaves without waiting for an answer."""
        if self._local and self._session and message.session == self._session.id:
            with suppress(Refused):  # it has ended the session already
                await self._local.kill(message.reason.code == Code.OK, message.reason.text)
        self._end_session()

    # --- syncs

    async def _exchange(self, request: HandOver) -> None:
        """Does one sync: from the client's weights to the answer, with the merged models in between."""
        try:
            interval, over = await self._merge(request)
        except (Unusable, Refused, TensorFileError, OSError) as error:
            logger.error("%s", error)
            self._end_session()
            code = Code.ERROR_IN_USER if isinstance(error, Unusable) else Code.ERROR_IN_SL
            await self._client.send(messages.sync_response(request, Status(code, str(error)), 0, over=False))
        except Aborted as error:
            logger.error("The ML process cannot use the merged model: %s", error)
            self._end_session()
        else:
            await self._client.send(messages.sync_response(request, OK, interval, over))
            if request.closing:
                self._end_session()

    async def _merge(self, request: HandOver) -> tuple[int, bool]:
        """Returns the batches until the next sync, and whether training is over."""
        if self._session is None or request.session != self._session.id:
            raise Unusable(f"session {request.session!r} is not open at this SL node")
        local = await self._hand_over(self._session, request)
        shown = ""
        while True:
            match await self._next_from_sl(local):
                case Merged(file=name, model=digest):
                    await asyncio.to_thread(self._memory.keep, self._channel.with_name(name))
                    await self._show(request, local)
                    shown = digest
                case (Synced() | Closed()) as answer:
                    await self._end_exchange(request, shown)
                    return (answer.next_interval, answer.training_over) if isinstance(answer, Synced) else (0, True)

    async def _hand_over(self, session: Session, request: HandOver) -> Local:
        """Writes the weights to a model file and sends it to the SL, in a session that may have to be opened first."""
        self._files += 1
        name = f"bridge-{self._files}.safetensors"
        structure = await asyncio.to_thread(self._make_file, request.weights, self._channel.with_name(name))
        if not session.structure:
            session = self._remember(msgspec.structs.replace(session, structure=structure))
        if self._local is None:
            self._local = await Local.open(self._channel, session)
        while not self._local.session:
            await self._next_from_sl(self._local)
        await self._local.hand_over(request, name)
        return self._local

    def _make_file(self, weights: str | memoryview, path: Path) -> tuple[TensorSpec, ...]:
        part = path.with_name(f".{path.name}.part")
        with suppress(FileNotFoundError):
            path.with_name(SPARE_FILE).rename(part)
        if isinstance(weights, str):
            with self._place.read(weights) as file:
                try:
                    structure = model_from_pickle(file, part)
                except Unusable as error:
                    raise Unusable(f"the weights in {weights} cannot be used: {error}") from error
        else:
            structure = model_from_message(weights, part)
        if not structure:
            raise Unusable("there are no weights to merge")
        part.rename(path)
        return structure

    async def _next_from_sl(self, local: Local) -> FromSL:
        """Returns the SL's next message. Raises `Left` or `OutOfTurn` when the client no longer waits for it."""
        message = asyncio.ensure_future(local.receive())
        disturbed = asyncio.ensure_future(self._pipes.disturbed())
        try:
            await asyncio.wait((message, disturbed), return_when=asyncio.FIRST_COMPLETED)
            if not message.done():
                await disturbed
            return await message
        finally:
            message.cancel()
            disturbed.cancel()
            await asyncio.gather(message, disturbed, return_exceptions=True)

    async def _show(self, request: HandOver, local: Local) -> None:
        """Has the client load and evaluate the merged model, and reports the result to the SL."""
        answer = await self._evaluate(request)
        if answer.status.code != Code.OK:
            await local.evaluation_failed(answer.status.text)
            raise Aborted(answer.status.text)
        validated = answer.loss != 0 or answer.metric != 0  # without validation data the client reports 0 for both
        await local.evaluated(
            answer, _finite(answer.loss) if validated else None, _finite(answer.metric) if validated else None
        )

    async def _evaluate(self, request: HandOver) -> Evaluated:
        """Shows the client the merged model that is kept."""
        assert self._session is not None
        self._losses += 1
        names = [spec.name for spec in self._session.structure]
        head = messages.loss_request_head(request, self._losses)
        if isinstance(request.weights, str):
            await asyncio.to_thread(self._write_merged, names)
            await self._client.send(messages.loss_request(head, MERGED))
        else:
            weights = await asyncio.to_thread(model_to_message, self._memory.merged, names)
            await self._client.send(*messages.loss_request_with(head, weights))
        answer = await self._client.receive()
        if not isinstance(answer, Evaluated):
            self._client.put_back(answer)
            raise OutOfTurn(f"{type(answer).__name__} came where a merged model is to be evaluated")
        if (answer.session, answer.sequence, answer.loss_sequence) != (request.session, request.sequence, self._losses):
            raise Unusable(f"a LossResponse came for another request than {request.sequence}.{self._losses}")
        return answer

    def _write_merged(self, names: list[str]) -> None:
        with self._place.rewrite() as file:
            model_to_pickle(self._memory.merged, names, file)

    async def _end_exchange(self, request: HandOver, shown: str) -> None:
        """The client trains on from what it was shown; at least one model in each exchange."""
        assert self._session is not None
        if shown:
            self._remember(msgspec.structs.replace(self._session, holds=shown))
        elif self._memory.merged.exists():
            answer = await self._evaluate(request)
            if answer.status.code != Code.OK:
                raise Aborted(answer.status.text)

    # --- sessions

    def _remember(self, session: Session) -> Session:
        self._memory.save(session)
        self._session = session
        return session

    def _end_session(self) -> None:
        self._disconnect()
        self._session = None
        self._memory.forget()

    def _disconnect(self) -> None:
        if self._local:
            self._local.close()
            self._local = None


def _objection(request: OpenSession) -> str:
    """Returns the reason that the client's parameters are refused, in the original's texts; empty if accepted."""
    if request.sync_interval < 1:
        return "syncFrequency has to be a positive integer"
    if request.min_peers < 1:
        return "minPeers have to be a positive integer"
    if not request.contract.strip():
        return "Invalid Training Contract"
    if request.checkin not in get_args(CheckinMode):
        return f"Invalid value checkinModelOnTrainEnd: {request.checkin}. Allowed values: {list(get_args(CheckinMode))}"
    if not 1 <= request.weightage <= 100:
        return f"Node weightage should be a number between 1-100. Provided value: {request.weightage}"
    if request.merge_method not in get_args(MergeMethod):
        return f"Invalid value mergeMethod: {request.merge_method}. Allowed values: {list(get_args(MergeMethod))}"
    return ""


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
