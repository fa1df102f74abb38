"""What the UI keeps of hosts: the list, keys that were confirmed, what was seen, and logins only sealed."""

import base64
from collections.abc import Iterator
from pathlib import Path

import pytest

from swarmlearning.errors import UserError
from swarmlearning.ui.access import Access, GivenLogin
from swarmlearning.ui.hosts.addresses import Address, read_addresses
from swarmlearning.ui.hosts.facts import Facts
from swarmlearning.ui.hosts.hostkeys import HostKey, HostKeyError, confirm
from swarmlearning.ui.hosts.logins import Login, Secret, packed
from swarmlearning.ui.hosts.running import NodeState
from swarmlearning.ui.hosts.secretbox import SecretBox
from swarmlearning.ui.hosts.seeing import MOST_OUTPUT, SeenHost, safe_output
from swarmlearning.ui.store import hosts as module
from swarmlearning.ui.store.database import Database
from swarmlearning.ui.store.hosts import HostFault, Hosts, PinnedKeys

FOLDER = "/opt/hpe/swarm-learning"
KEYS = [
    HostKey("ssh-ed25519", base64.b64encode(b"\0\0\0\x0bssh-ed25519\0\0\0\x20" + each * 32).decode())
    for each in (b"1", b"2")
]
BOX = SecretBox("a key that is long enough")


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    with Database(tmp_path) as made:
        yield made


@pytest.fixture
async def hosts(database: Database) -> Hosts:
    """Three hosts, not in their order."""
    made = Hosts(database)
    await made.add(read_addresses("west.example.org:2222, 10.0.0.11, 10.0.0.9"), FOLDER, "swarm", "", "anna")
    return made


async def test_hosts_are_added_once_and_shown_in_their_order(hosts: Hosts) -> None:
    assert await hosts.add(read_addresses("10.0.0.8-9"), "/srv/other", "x", "note", "bert") == ["10.0.0.8"]
    found = {each.address: each for each in await hosts.all()}
    assert list(found) == ["10.0.0.8", "10.0.0.9", "10.0.0.11", "west.example.org:2222"]
    assert (found["10.0.0.9"].folder, found["10.0.0.9"].by, found["10.0.0.8"].note) == (FOLDER, "anna", "note")
    await hosts.change("10.0.0.8", FOLDER, "y", "")
    assert (await hosts.get("10.0.0.8")).user == "y"
    await hosts.remove("10.0.0.8")
    for missing in (hosts.get("10.0.0.8"), hosts.remove("10.0.0.8"), hosts.change("10.0.0.8", FOLDER, "", "")):
        with pytest.raises(HostFault, match=r"no host 10\.0\.0\.8"):
            await missing
    assert [each.address for each in await hosts.some(["10.0.0.9", "10.0.0.9"])] == ["10.0.0.9"]
    with pytest.raises(HostFault, match="no host is ticked"):
        await hosts.some([])


@pytest.mark.parametrize("folder", ["/opt", "relative", "/opt/../etc/x", "/a b"])
async def test_a_folder_that_cannot_be_ours_is_refused(hosts: Hosts, folder: str) -> None:
    with pytest.raises(UserError):
        await hosts.add(read_addresses("10.0.0.1"), folder, "", "", "anna")
    with pytest.raises(UserError):
        await hosts.change("10.0.0.9", folder, "", "")
    assert len(await hosts.all()) == 3


async def test_the_list_is_bounded(hosts: Hosts, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_HOSTS", 4)
    with pytest.raises(HostFault, match="at most 4 hosts"):
        await hosts.add(read_addresses("10.0.1.1-2"), FOLDER, "", "", "anna")
    assert len(await hosts.all()) == 3


async def test_what_was_seen_is_kept(hosts: Hosts, database: Database) -> None:
    facts = Facts(system="Debian", ports=frozenset({22, 30304}), installed="0.1.0-1a2b")
    seen = SeenHost(5, facts, (NodeState("sn-1", "running", "user", {"pid": "7"}),))
    await hosts.see("10.0.0.9", seen)
    await hosts.see("10.0.0.77", seen)  # it was removed meanwhile
    assert [each.seen for each in await Hosts(database).all()] == [seen, None, None]
    await database.run(lambda sql: sql.execute('UPDATE hosts SET seen = \'{"of": "another release"}\''))
    assert (await hosts.get("10.0.0.9")).seen is None


async def test_a_key_is_compared_confirmed_and_forgotten(hosts: Hosts, database: Database) -> None:
    keys, address = PinnedKeys(database), Address("10.0.0.9", 22)
    await hosts.show_key("10.0.0.9", KEYS[0])
    host = await hosts.get("10.0.0.9")
    assert host.pinned is None
    assert host.shown is not None
    assert host.shown.fingerprint == KEYS[0].fingerprint
    await confirm(keys.of("anna"), address, KEYS[0], KEYS[0].fingerprint)
    host = await hosts.get("10.0.0.9")
    assert host.pinned is not None
    assert (host.pinned.by, host.pinned.fingerprint, host.shown) == ("anna", KEYS[0].fingerprint, None)
    await hosts.show_key("10.0.0.9", KEYS[1])
    with pytest.raises(HostKeyError, match="another host key"):
        await confirm(keys.of("bert"), address, KEYS[1], KEYS[1].fingerprint)
    host = await hosts.get("10.0.0.9")
    assert (host.pinned is not None, host.shown is not None) == (True, True)
    await hosts.remove("10.0.0.9")
    await hosts.add([address], FOLDER, "", "", "bert")
    assert (await hosts.get("10.0.0.9")).pinned is not None  # whoever removes a host confirms no other key by that
    await keys.forget(address)
    assert await keys.pinned(address) is None


async def test_keys_are_bounded(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_KEYS", 1)
    keys = PinnedKeys(database)
    await keys.pin(Address("a", 22), KEYS[0])
    with pytest.raises(HostFault, match="forget some"):
        await keys.pin(Address("b", 22), KEYS[0])


async def test_a_login_is_the_given_one_else_the_kept_one(hosts: Hosts, database: Database) -> None:
    access, host = Access(hosts, PinnedKeys(database), BOX), await hosts.get("10.0.0.9")
    given = GivenLogin(password=Secret("one two three"))
    assert await access.login(host, given) == Login("swarm", Secret("one two three"))
    assert (await access.login(host, GivenLogin("root", Secret("x")))).user == "root"
    with pytest.raises(HostFault, match="none is kept"):
        await access.login(host, GivenLogin())
    kept = Login("swarm", key=Secret("a key"))
    await hosts.keep_login("10.0.0.9", BOX.seal(packed(kept), "ssh 10.0.0.9"))
    assert (await hosts.get("10.0.0.9")).keeps_login
    assert await access.login(host, GivenLogin()) == kept
    without = Access(hosts, PinnedKeys(database), None)
    with pytest.raises(HostFault, match="SLM_UI_SECRETS_KEY is not set"):
        await without.login(host, GivenLogin())
    with pytest.raises(HostFault, match="SLM_UI_SECRETS_KEY is not set"):
        await without.machine(host, GivenLogin(password=Secret("x"), keep=True))
    other = Access(hosts, PinnedKeys(database), SecretBox("another key, as long"))
    with pytest.raises(UserError, match="another key"):
        await other.login(host, GivenLogin())
    await hosts.keep_login("10.0.0.9", "")
    assert not (await hosts.get("10.0.0.9")).keeps_login


def test_an_output_is_shown_in_whole_lines_without_secrets() -> None:
    long = "a line that was cut\n" + "x\x1b[31m password=hunter22 \u202e\n" * (MOST_OUTPUT // 20)
    shown = safe_output(long)
    assert not shown.startswith("a line")
    assert not any(each in shown for each in ("hunter22", "\x1b", "\u202e"))
    assert shown.count("\n") == long.count("\n") - 1
    assert safe_output("short\n") == "short\n"
