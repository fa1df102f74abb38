"""One etcd member's client side: its JSON gateway over a unix socket of this SN alone.

Keys and values are bytes here and base64 on the wire; numbers are integers here and strings on the wire.
"""

import asyncio
from base64 import b64decode, b64encode
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp
import msgspec

from swarmlearning.ordering.protocols import UnavailableError

ANSWER_SECONDS = 5.0
CHANGE_SECONDS = 2.0
"""For changes: requests to a leader that dies are lost and never answered; a new one is elected by then."""
MAX_LINE = 4 * 1024 * 1024
MAX_REQUESTS = 32
"""At once; watches do not count."""
CLOSED = "this etcd member is no longer used"


class EtcdUnavailableError(UnavailableError):
    """No answer: the request may or may not have taken effect."""


class EtcdRefusedError(UnavailableError):
    """etcd has refused the request: nothing changed. It refuses while it is a learner or was removed, too."""


class KeyValue(NamedTuple):
    """A stored value with its lease (0: none)."""

    key: bytes
    value: bytes
    lease: int


class Member(NamedTuple):
    """A member of the cluster as every member knows it; `name` is empty until it has started once."""

    id: int
    name: str
    peer_url: str
    learner: bool


Operation = dict[str, Any]


def value_is(key: bytes, value: bytes | None) -> Operation:
    """Compares: the key has this value; None: there is no such key."""
    if value is None:
        return {"key": _out(key), "target": "VERSION", "version": "0"}
    return {"key": _out(key), "target": "VALUE", "value": _out(value)}


def lease_is(key: bytes, lease: int) -> Operation:
    """Compares: the key exists and belongs to this lease (not 0)."""
    return {"key": _out(key), "target": "LEASE", "lease": str(lease)}


def put(key: bytes, value: bytes, lease: int = 0) -> Operation:
    """An operation of a transaction: store."""
    return {"requestPut": {"key": _out(key), "value": _out(value), "lease": str(lease)}}


class Gateway:
    """Requests to the member whose socket lies at `socket`."""

    def __init__(self, socket: Path) -> None:
        # The limit is ours: aiohttp's cancels the tasks that wait for a connection when the session is closed.
        self._session = aiohttp.ClientSession(
            connector=aiohttp.UnixConnector(str(socket), limit=0), read_bufsize=MAX_LINE
        )
        self._turns = asyncio.Semaphore(MAX_REQUESTS)
        self._watches: set[aiohttp.StreamReader] = set()

    async def close(self) -> None:
        """Closes all connections; all waiting and later requests fail with `EtcdUnavailableError`."""
        for watch in self._watches:
            watch.set_exception(EtcdUnavailableError(CLOSED))  # aiohttp would leave it waiting
        await self._session.close()

    async def transact(self, compare: Sequence[Operation], then: Sequence[Operation]) -> bool:
        """Does all of `then` if all of `compare` hold, as one step; returns True if they did."""
        answer = await self._call("/kv/txn", {"compare": list(compare), "success": list(then)}, CHANGE_SECONDS)
        return bool(answer.get("succeeded"))

    async def get(self, key: bytes) -> bytes | None:
        """The value, by agreement of the majority; None when there is none."""
        found = await self.range(key, None, 1)
        return found[0].value if found else None

    async def range(self, start: bytes, end: bytes | None, limit: int) -> list[KeyValue]:
        """The keys from `start` to before `end` (None: just `start`), at most `limit`, by agreement of the majority."""
        body: dict[str, Any] = {"key": _out(start), "limit": str(limit)}
        if end is not None:
            body["range_end"] = _out(end)
        answer = await self._call("/kv/range", body)
        return [_key_value(found) for found in answer.get("kvs", [])]

    async def delete(self, start: bytes, end: bytes) -> None:
        """Deletes the keys from `start` to before `end`."""
        await self._call("/kv/deleterange", {"key": _out(start), "range_end": _out(end)})

    async def watch(self, start: bytes, end: bytes | None) -> AsyncGenerator[list[KeyValue], None]:
        """Yields what is stored under these keys from now on (an empty value: deleted). First an empty list, when the
        watch has begun. Ends with `EtcdUnavailableError`. Only a hint: reading is the truth."""
        self._require_open()
        create: dict[str, Any] = {"key": _out(start)}
        if end is not None:
            create["range_end"] = _out(end)
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=ANSWER_SECONDS)
        try:
            async with self._session.post(
                "http://etcd/v3/watch", json={"create_request": create}, timeout=timeout
            ) as response:
                with self._watched(response.content):
                    async for line in response.content:
                        result = msgspec.json.decode(line).get("result", {})
                        if result.get("canceled"):
                            break
                        yield [_key_value(event["kv"]) for event in result.get("events", [])]
        except (aiohttp.ClientError, TimeoutError, ValueError, msgspec.DecodeError) as error:
            raise EtcdUnavailableError(f"etcd watch has ended: {_text(error)}") from error
        raise EtcdUnavailableError("etcd watch has ended")

    async def grant(self, seconds: int) -> int:
        """A new lease of this lifetime."""
        return int((await self._call("/lease/grant", {"TTL": str(seconds)}))["ID"])

    async def renew(self, lease: int) -> bool:
        """Renews a lease; False when it is gone."""
        answer = await self._call("/lease/keepalive", {"ID": str(lease)})
        return int(answer.get("result", {}).get("TTL", 0)) > 0

    async def revoke(self, lease: int) -> None:
        """Ends a lease and deletes its keys."""
        await self._call("/lease/revoke", {"ID": str(lease)})

    async def members(self) -> list[Member]:
        """The cluster's members."""
        answer = await self._call("/cluster/member/list", {})
        return [
            Member(int(one["ID"]), one.get("name", ""), one["peerURLs"][0], bool(one.get("isLearner")))
            for one in answer["members"]
        ]

    async def add_learner(self, peer_url: str) -> int:
        """Adds a member that does not vote yet; returns its id."""
        answer = await self._call("/cluster/member/add", {"peerURLs": [peer_url], "isLearner": True})
        return int(answer["member"]["ID"])

    async def promote(self, member: int) -> None:
        """Makes a learner a voter. Refused while it has not caught up."""
        await self._call("/cluster/member/promote", {"ID": str(member)})

    async def remove(self, member: int) -> None:
        """Removes a member."""
        await self._call("/cluster/member/remove", {"ID": str(member)})

    async def status(self) -> dict[str, Any]:
        """The member's own view: version, leader, raftIndex, dbSize, isLearner; answered without the majority."""
        return await self._call("/maintenance/status", {})

    async def used_bytes(self) -> int:
        """The bytes that the member's database holds, free pages not counted."""
        return int((await self.status()).get("dbSizeInUse", 0))

    async def alarms(self) -> list[str]:
        """The alarms that some member has raised (`NOSPACE`, `CORRUPT`)."""
        answer = await self._call("/maintenance/alarm", {"action": "GET"})
        return [str(found["alarm"]) for found in answer.get("alarms", [])]

    async def learns(self) -> bool:
        """True if the member has no vote yet, as it knows itself."""
        return bool((await self.status()).get("isLearner", False))

    async def led(self) -> bool:
        """True if the member knows a leader: without one there is no majority, or it is not in it."""
        return int((await self.status()).get("leader", 0)) != 0

    async def _call(self, path: str, body: dict[str, Any], seconds: float = ANSWER_SECONDS) -> dict[str, Any]:
        try:
            async with asyncio.timeout(seconds), self._turns:
                self._require_open()
                async with self._session.post(f"http://etcd/v3{path}", json=body) as response:
                    raw = await response.read()
                    answer: dict[str, Any] = msgspec.json.decode(raw)
                    status = response.status
        except (aiohttp.ClientError, TimeoutError, OSError, msgspec.DecodeError) as error:
            raise EtcdUnavailableError(f"etcd does not answer: {_text(error)}") from error
        if status == 200:
            return answer
        text = str(answer.get("message") or answer.get("error") or answer)
        if status in (408, 499, 500, 503, 504):
            raise EtcdUnavailableError(f"etcd cannot answer: {text}")
        raise EtcdRefusedError(f"etcd refuses: {text}")

    def _require_open(self) -> None:
        """Raises after the gateway was closed: those who use it find out as from any etcd that has ended."""
        if self._session.closed:
            raise EtcdUnavailableError(CLOSED)

    @contextmanager
    def _watched(self, stream: aiohttp.StreamReader) -> Iterator[None]:
        self._watches.add(stream)
        try:
            yield
        finally:
            self._watches.discard(stream)


def _key_value(found: dict[str, Any]) -> KeyValue:
    return KeyValue(b64decode(found["key"]), b64decode(found.get("value", "")), int(found.get("lease", 0)))


def _out(data: bytes) -> str:
    return b64encode(data).decode()


def _text(error: Exception) -> str:
    return str(error) or type(error).__name__
