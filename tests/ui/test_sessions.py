"""Users and their sessions as they are kept."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from swarmlearning.node.errors import NodeError
from swarmlearning.ui.store import sessions as module
from swarmlearning.ui.store.database import FILE, VERSIONS, Database
from swarmlearning.ui.store.sessions import MOST_A_USER, TOUCH_MS, Sessions
from swarmlearning.ui.store.users import UserFault, Users

IDLE, LONGEST = 600_000, 3_600_000


class Clock:
    """The time that sessions see."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1_800_000_000_000
        monkeypatch.setattr(module, "clock_ms", lambda: self.now)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    with Database(tmp_path) as made:
        yield made


@pytest.fixture
async def users(database: Database) -> Users:
    made = Users(database)
    await made.add("Ada", "admin", "hash")
    await made.add("bob", "viewer", "hash")
    return made


@pytest.fixture
def sessions(database: Database, users: Users, clock: Clock) -> Sessions:
    return Sessions(database, IDLE, LONGEST)


async def test_a_session_ends_when_it_is_idle_for_long(sessions: Sessions, clock: Clock) -> None:
    token = await sessions.open("ada", "1.2.3.4", "browser")
    found = await sessions.user(token)
    assert found is not None
    assert (found.name, found.role) == ("Ada", "admin")
    clock.now += IDLE - 1
    assert await sessions.user(token) is not None
    clock.now += IDLE - 1
    assert await sessions.user(token) is not None
    clock.now += IDLE
    assert await sessions.user(token) is None


async def test_a_page_that_keeps_itself_up_to_date_does_not_prolong_it(sessions: Sessions, clock: Clock) -> None:
    token = await sessions.open("ada", "", "")
    for _ in range(3):
        clock.now += TOUCH_MS
        assert await sessions.user(token, active=False) is not None
    clock.now += IDLE - 3 * TOUCH_MS
    assert await sessions.user(token, active=False) is None


async def test_a_session_ends_after_its_longest_time_however_it_is_used(sessions: Sessions, clock: Clock) -> None:
    token, begun = await sessions.open("ada", "", ""), clock.now
    while clock.now < begun + LONGEST:
        assert await sessions.user(token) is not None
        clock.now += IDLE // 2
    assert await sessions.user(token) is None


async def test_a_new_password_ends_all_sessions_of_that_user_alone(sessions: Sessions, users: Users) -> None:
    one, two, other = [await sessions.open(name, "", "") for name in ("ada", "Ada", "bob")]
    await users.set_password("ADA", "another")
    assert [await sessions.user(each) for each in (one, two)] == [None, None]
    assert await sessions.user(other) is not None


async def test_who_is_removed_is_out(sessions: Sessions, users: Users) -> None:
    token = await sessions.open("bob", "", "")
    await users.remove("Bob")
    assert await sessions.user(token) is None


async def test_the_sessions_of_a_user_are_bounded_and_no_token_is_in_the_file(
    sessions: Sessions, clock: Clock, tmp_path: Path
) -> None:
    tokens = []
    for _ in range(MOST_A_USER + 5):
        clock.now += 1
        tokens.append(await sessions.open("ada", "1.2.3.4", "x" * 10_000))
    assert len(await sessions.of("ada")) == MOST_A_USER
    assert await sessions.user(tokens[0]) is None
    kept = b"".join(path.read_bytes() for path in tmp_path.glob(f"{FILE}*"))
    assert b"1.2.3.4" in kept
    assert not any(token.encode() in kept for token in tokens)
    assert (tmp_path / FILE).stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("token", ["", "x", "'; DROP TABLE users; --", "\x00", "é" * 100])
async def test_a_token_that_nobody_has_is_no_session(sessions: Sessions, token: str) -> None:
    assert await sessions.user(token) is None


async def test_the_last_admin_stays(users: Users) -> None:
    for change in (users.remove("ada"), users.set_role("ada", "viewer")):
        with pytest.raises(UserFault, match="last admin"):
            await change
    assert [(user.name, user.role) for user in await users.all()] == [("Ada", "admin"), ("bob", "viewer")]
    await users.set_role("bob", "admin")
    await users.remove("ada")
    assert [user.name for user in await users.all()] == ["bob"]


@pytest.mark.parametrize("name", ["", " a", "a\n", "a\x1b[0m", "x" * 65, "a\u202eb"])
async def test_a_name_is_short_and_printable(users: Users, name: str) -> None:
    with pytest.raises(UserFault):
        await users.add(name, "viewer", "hash")


async def test_a_name_is_given_once_whatever_its_case(users: Users) -> None:
    with pytest.raises(UserFault, match="already"):
        await users.add("ADA", "viewer", "hash")
    for missing in (users.set_password("eve", "x"), users.remove("eve"), users.set_role("eve", "viewer")):
        with pytest.raises(UserFault, match="no user eve"):
            await missing


def test_a_file_of_a_newer_release_is_left_alone(tmp_path: Path) -> None:
    with Database(tmp_path) as made:
        made.now(lambda sql: sql.execute(f"PRAGMA user_version={len(VERSIONS) + 1}"))
    with pytest.raises(NodeError, match="newer release"):
        Database(tmp_path)


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    (tmp_path / FILE).write_bytes(b"no database " * 1000)
    with pytest.raises(NodeError, match=FILE):
        Database(tmp_path)
