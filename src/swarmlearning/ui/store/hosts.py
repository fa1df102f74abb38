"""The hosts that the UI knows, what it has last seen of them, and their keys. A login is here only sealed."""

import sqlite3
from collections.abc import Sequence
from typing import Final

import msgspec

from swarmlearning.errors import UserError
from swarmlearning.node.clocks import clock_ms
from swarmlearning.ui.hosts.addresses import Address, read_addresses
from swarmlearning.ui.hosts.hostkeys import HostKey, read_host_key
from swarmlearning.ui.hosts.layout import Layout
from swarmlearning.ui.hosts.seeing import SeenHost
from swarmlearning.ui.store.database import Database

MOST_HOSTS: Final = 1000
MOST_KEYS: Final = 5000
LONGEST_NOTE: Final = 200
LONGEST_USER: Final = 256


class HostFault(UserError):
    """What was to be done with a host is not possible; `key` is the text that says why, with these values."""

    def __init__(self, key: str, english: str, **values: object) -> None:
        super().__init__(english)
        self.key = key
        self.values = values


class PinnedKey(msgspec.Struct, frozen=True):
    """A host's key that somebody has confirmed."""

    algorithm: str
    fingerprint: str
    by: str
    pinned_ms: int


class Host(msgspec.Struct, frozen=True, kw_only=True):
    """A host. `folder`: of the product there; `user`: who logs in there. `pinned`: its confirmed key; `shown`: the one
    that it has shown last, where that is another one. `keeps_login`: one is kept here, sealed."""

    address: str
    folder: str
    user: str
    note: str
    by: str
    added_ms: int
    pinned: PinnedKey | None = None
    shown: PinnedKey | None = None
    keeps_login: bool = False
    seen: SeenHost | None = None

    @property
    def layout(self) -> Layout:
        """Where things lie there. Raises `UserError`."""
        return Layout(self.folder)


class Hosts:
    """Hosts by their addresses, as `Address` writes them."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def all(self) -> list[Host]:
        """All of them, in the order of their addresses."""
        rows = await self._database.run(lambda sql: sql.execute(_SELECT).fetchall())
        return sorted(map(_host, rows), key=lambda each: _order(each.address))

    async def get(self, address: str) -> Host:
        """The host of this address. Raises `HostFault`."""
        row = await self._database.run(
            lambda sql: sql.execute(f"{_SELECT} WHERE hosts.address = ?", (address,)).fetchone()
        )
        if row is None:
            raise _unknown(address)
        return _host(row)

    async def some(self, addresses: Sequence[str]) -> list[Host]:
        """The hosts of these addresses, each once. Raises `HostFault` for none, and for one that there is not."""
        if not addresses:
            raise HostFault("hosts.none-ticked", "no host is ticked")
        return [await self.get(each) for each in dict.fromkeys(addresses)]

    async def add(self, addresses: Sequence[Address], folder: str, user: str, note: str, by: str) -> list[str]:
        """Adds hosts; returns the addresses of those that are new. Raises `UserError`."""
        Layout(folder)
        named = [str(each) for each in addresses]

        def insert(sql: sqlite3.Connection) -> list[str]:
            there = {address for (address,) in sql.execute("SELECT address FROM hosts")}
            new = [each for each in named if each not in there]
            if len(there) + len(new) > MOST_HOSTS:
                raise HostFault("hosts.too-many", f"at most {MOST_HOSTS} hosts are kept", most=MOST_HOSTS)
            sql.executemany(
                "INSERT INTO hosts (address, folder, user, note, by, added_ms) VALUES (?, ?, ?, ?, ?, ?)",
                [(each, folder, user[:LONGEST_USER], note[:LONGEST_NOTE], by, clock_ms()) for each in new],
            )
            return new

        return await self._database.run(insert)

    async def change(self, address: str, folder: str, user: str, note: str) -> None:
        """Changes what somebody has entered of a host. Raises `UserError`."""
        Layout(folder)
        await self._update(address, "folder = ?, user = ?, note = ?", folder, user[:LONGEST_USER], note[:LONGEST_NOTE])

    async def remove(self, address: str) -> None:
        """Removes a host with its login; its confirmed key is kept. Raises `HostFault`."""

        def delete(sql: sqlite3.Connection) -> int:
            return sql.execute("DELETE FROM hosts WHERE address = ?", (address,)).rowcount

        if not await self._database.run(delete):
            raise _unknown(address)

    async def see(self, address: str, seen: SeenHost) -> None:
        """Keeps what was seen of a host; one that was removed meanwhile stays so."""
        kept = msgspec.json.encode(seen).decode()
        await self._database.run(
            lambda sql: sql.execute("UPDATE hosts SET seen = ? WHERE address = ?", (kept, address))
        )

    async def show_key(self, address: str, key: HostKey) -> None:
        """Keeps the key that a host has shown, so that somebody can compare it."""
        await self._database.run(
            lambda sql: sql.execute("UPDATE hosts SET shown = ? WHERE address = ?", (key.line, address))
        )

    async def shown_key(self, address: str) -> HostKey | None:
        """The key that a host has shown last."""
        row = await self._database.run(
            lambda sql: sql.execute("SELECT shown FROM hosts WHERE address = ?", (address,)).fetchone()
        )
        return read_host_key(row[0]) if row and row[0] else None

    async def keep_login(self, address: str, sealed: str) -> None:
        """Keeps a sealed login in place of a former one; an empty one: none any more. Raises `HostFault`."""
        await self._update(address, "login = ?", sealed)

    async def login(self, address: str) -> str:
        """The sealed login of a host; empty where none is kept."""
        row = await self._database.run(
            lambda sql: sql.execute("SELECT login FROM hosts WHERE address = ?", (address,)).fetchone()
        )
        return row[0] if row else ""

    async def _update(self, address: str, what: str, *values: str) -> None:
        def update(sql: sqlite3.Connection) -> int:
            return sql.execute(f"UPDATE hosts SET {what} WHERE address = ?", (*values, address)).rowcount

        if not await self._database.run(update):
            raise _unknown(address)


class PinnedKeys:
    """Confirmed keys of hosts: `HostKeys` in the UI's database. `by`: who confirms."""

    def __init__(self, database: Database, by: str = "") -> None:
        self._database = database
        self._by = by

    def of(self, by: str) -> "PinnedKeys":
        """The same keys, as this person confirms them."""
        return PinnedKeys(self._database, by)

    async def pinned(self, address: Address) -> HostKey | None:
        """See `HostKeys`."""
        row = await self._database.run(
            lambda sql: sql.execute("SELECT key FROM host_keys WHERE address = ?", (str(address),)).fetchone()
        )
        return read_host_key(row[0]) if row else None

    async def pin(self, address: Address, key: HostKey) -> None:
        """See `HostKeys`. Raises `HostFault` where too many are kept."""

        def insert(sql: sqlite3.Connection) -> None:
            (count,) = sql.execute("SELECT count(*) FROM host_keys").fetchone()
            if count >= MOST_KEYS:
                raise HostFault("hosts.too-many-keys", f"{count} keys of hosts are kept: forget some", count=count)
            sql.execute(
                "INSERT OR REPLACE INTO host_keys VALUES (?, ?, ?, ?)", (str(address), key.line, self._by, clock_ms())
            )

        await self._database.run(insert)

    async def forget(self, address: Address) -> None:
        """See `HostKeys`."""
        await self._database.run(lambda sql: sql.execute("DELETE FROM host_keys WHERE address = ?", (str(address),)))


_SELECT: Final = (
    "SELECT hosts.address, folder, user, note, hosts.by, added_ms, shown, login <> '', seen, "
    "host_keys.key, host_keys.by, pinned_ms FROM hosts LEFT JOIN host_keys ON host_keys.address = hosts.address"
)


def _host(row: tuple[str, str, str, str, str, int, str, int, str, str | None, str | None, int | None]) -> Host:
    address, folder, user, note, by, added_ms, shown, keeps, seen, key, pinned_by, pinned_ms = row
    return Host(
        address=address,
        folder=folder,
        user=user,
        note=note,
        by=by,
        added_ms=added_ms,
        pinned=_key(key or "", pinned_by or "", pinned_ms or 0),
        shown=_key(shown if shown != key else "", "", 0),
        keeps_login=bool(keeps),
        seen=_seen(seen),
    )


def _key(line: str, by: str, at_ms: int) -> PinnedKey | None:
    key = read_host_key(line) if line else None
    return PinnedKey(key.algorithm, key.fingerprint, by, at_ms) if key is not None else None


def _seen(text: str) -> SeenHost | None:
    """What was seen of a host; None for what another release has kept in another form."""
    try:
        return msgspec.json.decode(text, type=SeenHost) if text else None
    except msgspec.DecodeError:
        return None


def _unknown(address: str) -> HostFault:
    return HostFault("hosts.unknown", f"there is no host {address} in the list", address=address)


def _order(address: str) -> tuple[object, ...]:
    """Addresses of IPv4 by number, before the others by name."""
    host, port = read_addresses(address)[0]
    parts = host.split(".")
    if len(parts) == 4 and all(part.isdecimal() for part in parts):
        return (0, tuple(map(int, parts)), "", port)
    return (1, (), host, port)
