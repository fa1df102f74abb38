"""Machines over a real sshd: whom we trust, who logs in, and that nothing lasts longer or gets larger than it may."""

import asyncio
import logging
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import asyncssh
import pytest

from support.ports import fixed_port
from support.sshd import PASSWORD, USER, SshHost
from support.tools import needs
from swarmlearning.ui.hosts.addresses import Address
from swarmlearning.ui.hosts.hostkeys import (
    ChangedHostKey,
    HostKeyError,
    MemoryHostKeys,
    UnknownHostKey,
    confirm,
    read_host_key,
)
from swarmlearning.ui.hosts.local import LocalMachine
from swarmlearning.ui.hosts.logins import Login, LoginError, Secret
from swarmlearning.ui.hosts.machine import Machine, MachineError, part_of
from swarmlearning.ui.hosts.ssh import SshMachine, Unreachable, connected, look

pytestmark = needs("sshd")

LASTING, ENDLESS = f"sleep 4711.{os.getpid()}", f"yes {os.getpid()}"
"""Commands that no other worker runs at the same time."""


@pytest.fixture(params=["ssh", "local"])
def any_machine(request: pytest.FixtureRequest, machine: SshMachine) -> Machine:
    return machine if request.param == "ssh" else LocalMachine()


async def running(machine: Machine, what: str) -> int:
    """How many processes there run this command."""
    return int((await machine.run('ps -eo args | grep -cxF -- "$1" || true', what)).text)


# --- whom we trust, and who logs in ---------------------------------------------------------------------------------


async def test_a_host_is_told_of_before_anything_is_sent_to_it(host: SshHost) -> None:
    keys = MemoryHostKeys()
    with pytest.raises(UnknownHostKey) as caught:
        async with connected(host.address, host.login, keys):
            pass
    shown = caught.value.shown
    assert shown.fingerprint in str(caught.value)
    wanted = asyncssh.read_public_key(host.folder / "host_key").get_fingerprint()
    assert shown.fingerprint == wanted
    with pytest.raises(HostKeyError, match="compare it again"):
        await confirm(keys, host.address, shown, "SHA256:something")
    assert await keys.pinned(host.address) is None
    await confirm(keys, host.address, shown, f" {wanted}\n")
    async with connected(host.address, host.login, keys) as machine:
        assert (await machine.run("id -un")).text.strip() == USER


async def test_another_key_is_refused_with_both_fingerprints_and_gets_no_password(
    host: SshHost, keys: MemoryHostKeys
) -> None:
    """A server in the host's place, which would take any password."""
    seen: list[str] = []

    class Thief(asyncssh.SSHServer):
        def begin_auth(self, username: str) -> bool:
            seen.append(username)
            return True

        def password_auth_supported(self) -> bool:
            return True

    port = fixed_port()
    server_key = asyncssh.generate_private_key("ssh-ed25519")
    pinned = await keys.pinned(host.address)
    assert pinned is not None
    address = Address("127.0.0.1", port)
    await keys.pin(address, pinned)
    async with asyncssh.create_server(Thief, "127.0.0.1", port, server_host_keys=[server_key]):
        with pytest.raises(ChangedHostKey) as caught:
            async with connected(address, Login(USER, password=Secret(PASSWORD)), keys):
                pass
        shown = await look(address)
        with pytest.raises(ChangedHostKey):
            await confirm(keys, address, shown, shown.fingerprint)
    assert pinned.fingerprint in str(caught.value)
    assert server_key.get_fingerprint() in str(caught.value)
    assert seen == []


@needs("root")
async def test_a_password(host: SshHost, keys: MemoryHostKeys) -> None:
    async with connected(host.address, host.password_login, keys) as machine:
        assert (await machine.run("echo in")).text == "in\n"


@pytest.mark.parametrize("wrong", ["password", "key", "user", "no key", "encrypted", "passphrase"])
async def test_a_login_that_does_not_work_says_why_without_its_secret(
    host: SshHost, keys: MemoryHostKeys, wrong: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    key = asyncssh.generate_private_key("ssh-ed25519")
    own = Secret((host.folder / "user_key").read_text())
    locked = Secret(key.export_private_key("openssh", "a passphrase", rounds=4, ignore_few_rounds=True).decode())
    login, why = {
        "password": (Login(USER, password=Secret("wrong secret")), "does not let .* in with this password"),
        "key": (Login(USER, key=Secret(key.export_private_key("openssh").decode())), "with this private key"),
        "user": (Login("nobody-here", key=own), "does not let nobody-here in"),
        "no key": (Login(USER, key=Secret("wrong secret")), "none in OpenSSH's or PEM form"),
        "encrypted": (Login(USER, key=locked), "give its passphrase too"),
        "passphrase": (Login(USER, key=locked, passphrase=Secret("wrong secret")), "does not decrypt"),
    }[wrong]
    with pytest.raises(LoginError, match=why) as caught:
        async with connected(host.address, login, keys):
            pass
    shown = f"{caught.value!r} {caught.value.__cause__!r} {caplog.text}"
    assert "wrong secret" not in shown
    assert login.key.reveal()[:200] not in shown or not login.key


async def test_a_host_does_not_choose_the_numbers_by_which_a_key_is_agreed_on() -> None:
    key = asyncssh.generate_private_key("ssh-ed25519")
    kex = ["diffie-hellman-group-exchange-sha256", "diffie-hellman-group18-sha512"]
    server = await asyncssh.create_server(asyncssh.SSHServer, "127.0.0.1", 0, server_host_keys=[key], kex_algs=kex)
    async with server:
        with pytest.raises(Unreachable, match="no SSH connection: No matching key exchange"):
            await look(Address("127.0.0.1", server.get_port()))


async def test_a_host_compresses_nothing_so_that_little_stays_little(machine: SshMachine) -> None:
    for way in ("send", "recv"):
        assert machine._connection.get_extra_info(f"{way}_compression") == "none"


@pytest.fixture
def silent() -> Iterator[Address]:
    """A server that takes connections and never says anything."""
    with socket.create_server(("127.0.0.1", fixed_port())) as server:
        yield Address(*server.getsockname())


async def test_a_host_that_does_not_answer_is_given_up(silent: Address) -> None:
    with pytest.raises(Unreachable, match="has answered within 0 s"):
        await look(silent, seconds=0.3)
    with pytest.raises(Unreachable, match=r"no SSH connection.*does a firewall"):
        await look(Address("127.0.0.1", fixed_port()))


@pytest.mark.parametrize(
    "line", ["", "ssh-ed25519", "ssh-ed25519 !!!", "ssh-rsa AAAAC3NzaC1lZDI1NTE5AAAAIA==", "a b c"]
)
def test_what_is_no_host_key(line: str) -> None:
    with pytest.raises(HostKeyError):
        read_host_key(line)


# --- commands -------------------------------------------------------------------------------------------------------


async def test_words_and_secrets_arrive_as_they_are(any_machine: Machine) -> None:
    words = ("it's", 'a "b" $(id) `id`', "-n", "ä☃", "")
    secret = "first\nEND_OF_INPUT\n$HOME"
    ran = await any_machine.run('printf "%s|" "$@"; cat; echo no >&2; exit 7', *words, secret=secret)
    assert ran.text == "".join(f"{word}|" for word in words) + secret + "\n"
    assert (ran.status, ran.errors) == (7, "no\n")


async def test_this_machine_s_commands_get_nothing_of_the_ui_s_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SLM_UI_SECRETS_KEY", "SWARM_ID_KEY", "SLM_UI_ADMIN_PASSWORD"):
        monkeypatch.setenv(name, "hidden value")
    monkeypatch.setenv("LANG", "C.UTF-8")
    seen = (await LocalMachine().run("env")).text
    assert "hidden value" not in seen
    assert "LANG=C.UTF-8" in seen


async def test_a_command_that_lasts_is_ended_there_too(any_machine: Machine) -> None:
    with pytest.raises(MachineError, match="not done after 0 s"):
        await any_machine.run(f"{LASTING} & {LASTING}; echo", seconds=0.4)
    assert await running(any_machine, LASTING) == 0


async def test_a_command_that_is_cancelled_is_ended_there_too(any_machine: Machine) -> None:
    task = asyncio.create_task(any_machine.run(LASTING))
    async with asyncio.timeout(120):
        while await running(any_machine, LASTING) == 0:  # each look is a command of its own
            pass
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await running(any_machine, LASTING) == 0


async def test_a_command_that_writes_without_end_is_ended(any_machine: Machine) -> None:
    with pytest.raises(MachineError, match="more than 1000 bytes"):
        await any_machine.run(ENDLESS, most=1000)
    assert await running(any_machine, ENDLESS) == 0
    assert len((await any_machine.run(f"{ENDLESS} | head -c 200000 >&2")).errors) <= 16 * 1024


async def test_a_connection_that_is_lost_is_told(host: SshHost, keys: MemoryHostKeys) -> None:
    async with connected(host.address, host.login, keys) as machine:
        with pytest.raises(MachineError, match="connection was lost"):
            await machine.run('kill -KILL "$PPID"; sleep 60')


# --- files ----------------------------------------------------------------------------------------------------------


async def test_files_arrive_whole_with_their_mode(any_machine: Machine, tmp_path: Path) -> None:
    source, told = tmp_path / "source", list[int]()
    source.write_bytes(bytes(range(256)) * 20_000)
    target = tmp_path / "target"
    target.write_text("before")
    await any_machine.send(source, str(target), 0o640, told.append)
    assert target.read_bytes() == source.read_bytes()
    assert target.stat().st_mode & 0o777 == 0o640
    assert told[-1] == source.stat().st_size
    await any_machine.put(b"small", str(tmp_path / "small"), 0o600)
    assert (tmp_path / "small").read_bytes() == b"small"
    assert (tmp_path / "small").stat().st_mode & 0o777 == 0o600
    assert {path.name for path in tmp_path.iterdir()} == {"source", "target", "small"}


async def test_a_sending_goes_on_where_it_was_interrupted(machine: SshMachine, tmp_path: Path) -> None:
    source, target, told = tmp_path / "source", tmp_path / "target", list[int]()
    source.write_bytes(bytes(range(256)) * 40_000)
    Path(part_of(str(target))).write_bytes(source.read_bytes()[:5_000_000])
    await machine.send(source, str(target), 0o644, told.append)
    assert told[0] == 5_000_000
    assert target.read_bytes() == source.read_bytes()


async def test_a_file_that_cannot_be_written_says_where(any_machine: Machine, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_text("x")
    missing = str(tmp_path / "missing" / "target")
    with pytest.raises(MachineError, match="missing/target"):
        await any_machine.send(source, missing, 0o644, print)
    with pytest.raises(MachineError, match="missing/target"):
        await any_machine.put(b"x", missing, 0o644)
