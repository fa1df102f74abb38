"""`swarm invite`, `swarm join` and `swarm ca sign` beside a real SN: what they print, and how each refusal reads."""

import asyncio
import errno
import gc
import socket
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import pytest_asyncio
from typer.testing import CliRunner, Result

from support.newcomers import Host, hosting
from swarmlearning.backoff import Backoff
from swarmlearning.cli.join import STILL_WAITING
from swarmlearning.cli.main import app
from swarmlearning.identity.identity import Identity
from swarmlearning.identity.workspace import Workspace
from swarmlearning.invitations.code import JoinCode, read_code, write_code
from swarmlearning.sn import joinport
from swarmlearning.transport.listener import Acceptor

Identities = dict[str, Identity]

pytestmark = pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
"""A command ends its process, and leaves it to that to close the last connections."""


@dataclass
class Commands:
    """Runs commands beside the SN's event loop; the operator's with the certificate of SWCI-1, whose CA is CA-1."""

    host: Host
    office: Path
    folder: Path

    async def run(self, *words: str, says: str = "") -> Result:
        return await asyncio.to_thread(CliRunner().invoke, app, list(words), input=says)

    async def operator(self, *words: str, says: str = "") -> Result:
        place = Workspace(self.office)
        port = self.host.api.rpartition(":")[2]
        files = ("--capath", place.capath, "--cert", place.certificate("SWCI-1"), "--key", place.key("SWCI-1"))
        connection = ("--sn-api-port", port, "--data-dir", self.folder / "operator", *files)
        return await self.run(*words, *map(str, connection), says=says)

    async def code(self, *words: str) -> str:
        """The code that `swarm invite` prints, alone on standard output; the port is open then."""
        done = await self.operator("invite", *words)
        assert done.exit_code == 0, done.output
        await self.host.until(is_open=True)
        assert read_code(done.stdout) == read_code(done.stdout.strip())
        return done.stdout.strip()

    async def join(self, code: str, folder: str, *words: str) -> Result:
        return await self.run("join", code, "--out", str(self.folder / folder), *words)


@pytest_asyncio.fixture
async def commands(tmp_path: Path, workspace: Path, identities: Identities) -> AsyncIterator[Commands]:
    async with hosting(tmp_path / "sn", identities["SN-1"], identities["SWCI-1"]) as host:
        yield Commands(host, workspace, tmp_path)
    gc.collect()  # while their warnings are still ignored


async def test_a_node_goes_on_where_it_was_and_the_office_signs_after_a_question(commands: Commands) -> None:
    code = await commands.code("--node", "SL-new", "--expires", "2h")
    first = await commands.join(code, "new", "--host-ip", "10.0.0.7", "--wait", "0")
    assert (first.exit_code, "The office has not signed yet. Repeat this command" in first.output) == (
        STILL_WAITING,
        True,
    )
    again = await commands.join(code, "new", "--wait", "0")
    assert (again.exit_code, again.output) == (STILL_WAITING, first.output), "the same key, and no second request"

    declined = await commands.operator("ca", "sign", "--out", str(commands.office), says="n\n")
    assert "SL-new goes on waiting" in declined.output
    assert "10.0.0.7" in declined.output
    signed = await commands.operator("ca", "sign", "--out", str(commands.office), says="y\n")
    assert "the certificate of SL-new waits for it at every SN" in signed.output
    nothing = await commands.operator("ca", "sign", "--out", str(commands.office))
    assert "No request waits for the office of ca-1" in nothing.output

    done = await commands.join(code, "new")
    assert done.exit_code == 0
    assert "swarm sl --host-ip 10.0.0.7 --sn-ip 127.0.0.1 " in done.output
    assert Workspace(commands.folder / "new").identity("SL-new").subject == "CN=SL-new,OU=Swarm-Learning"
    repeated = await commands.join(code, "new")
    assert (repeated.exit_code, repeated.output) == (0, done.output)
    listed = await commands.operator("invite", "list")
    assert "SL-new" in listed.output
    assert "issued" in listed.output


async def test_who_finds_its_code_used_by_another_is_told_so(commands: Commands) -> None:
    code = await commands.code("--node", "SL-new")
    assert (await commands.join(code, "thief", "--wait", "0")).exit_code == STILL_WAITING
    refused = await commands.join(code, "owner", "--wait", "0")
    assert refused.exit_code == 1
    assert "tell your office at once not to sign" in refused.output
    assert str(commands.folder / "owner") in refused.output, "a tired person sees in which folder"
    [key] = [line.split()[0] for line in (await commands.operator("invite", "list")).output.splitlines()[1:]]
    used = await commands.operator("invite", "withdraw", key)
    assert f"invitation {key} has been used; answer no where swarm ca sign asks about SL-new" in used.output
    await commands.operator("ca", "sign", "--out", str(commands.office), says="y\n")
    late = await commands.join(code, "owner", "--wait", "0")
    assert "tell your office at once to revoke that certificate (swarm ca revoke)" in late.output
    issued = await commands.operator("invite", "withdraw", key)
    assert "is made void with: swarm ca revoke SL-new" in issued.output
    assert not (commands.folder / "owner").exists(), "nothing is left of the attempt"


async def test_a_code_may_come_in_pieces_and_an_address_that_comes_too_late_is_refused(commands: Commands) -> None:
    code = await commands.code("--node", "SL-new")
    pieces = await commands.join(code[:60], "new", code[60:], "--host-ip", "10.0.0.7", "--wait", "0")
    assert pieces.exit_code == STILL_WAITING, pieces.output
    same = await commands.join(code, "new", "--host-ip", "10.0.0.7", "--wait", "0")
    assert (same.exit_code, same.output) == (STILL_WAITING, pieces.output)
    late = await commands.join(code, "new", "--host-ip", "10.0.0.8", "--wait", "0")
    assert late.exit_code == 1
    assert "SL-new has made its request before, without 10.0.0.8, and a code permits only one" in late.output


async def test_a_code_that_was_withdrawn_or_cut_off_is_named_as_such(commands: Commands) -> None:
    code, _ = await commands.code("--node", "SL-new"), await commands.code("--node", "SL-other")
    cut = await commands.join(code[:80], "new")
    assert "the code is cut off: it has 80 of" in cut.output
    listed = await commands.operator("invite", "list")
    [key] = [line.split()[0] for line in listed.output.splitlines() if "SL-new" in line]
    assert "its code is void" in (await commands.operator("invite", "withdraw", key)).output
    assert "is withdrawn already" in (await commands.operator("invite", "withdraw", key)).output
    void = await commands.join(code, "new")
    assert "this invitation has been withdrawn by the organisation that had sent it" in void.output
    assert code[6:40] not in void.output + cut.output + listed.output


def test_where_no_sn_answers_an_expired_code_is_named_as_the_reason(tmp_path: Path) -> None:
    def refused(expires: float) -> str:
        addresses, authorities = ("no-such-host.invalid:1",), (b"a" * 32,)
        code = JoinCode(b"n" * 32, b"k" * 32, "north", "SL-1", int(expires), addresses, authorities, 1)
        done = CliRunner().invoke(app, ["join", write_code(code), "--out", str(tmp_path)])
        assert done.exit_code == 1
        return done.output

    assert "This code has expired, on 2001-09-09 01:46 UTC: ask for another one" in refused(1_000_000_000)
    valid = refused(time.time() + 3600)
    assert "has expired" not in valid
    assert "Either that SN does not run or a firewall is in between: then try again later" in valid


async def test_an_organisation_that_is_rejected_or_whose_code_another_has_used_is_told_so(commands: Commands) -> None:
    code = await commands.code("--organisation", "hospital-c")
    without = await commands.join(code, "c")
    assert "make one (swarm ca create NAME --out" in without.output
    await commands.run("ca", "create", "c", "--out", str(commands.folder / "c"))
    asked = await commands.join(code, "c", "--name", "Hospital C")
    assert "signed by nobody, not yet by ca-1" in asked.output
    await commands.run("ca", "create", "x", "--out", str(commands.folder / "x"))
    other = await commands.join(code, "x", "--name", "Hospital C")
    assert "this code has been used for another request" in other.output
    [key] = [line.split()[0] for line in (await commands.operator("invite", "list")).output.splitlines()[1:]]
    used = await commands.operator("invite", "withdraw", key)
    assert "while proposal 1 is open, swarm proposal reject 1 refuses the admission" in used.output
    await commands.operator("proposal", "reject", "1")
    assert (
        "the organisations have rejected the admission: ca-1"
        in (await commands.join(code, "c", "--name", "Hospital C")).output
    )


REFUSED = {
    (): "either --node, such as --node SL-2, or --organisation",
    ("--node", "SL-1", "--organisation", "c"): "either --node",
    ("--node", "LICENSE-1"): "only nodes of a network are invited",
    ("--node", "SL-1", "--expires", "30d"): "at most 29d",
    ("--node", "SL-1", "--expires", "soon"): "write 30m, 12h or 7d",
    ("--organisation", "Hospital C"): "is no ID of an organisation",
    ("--organisation", "ca-1"): "organisation ca-1 takes part already",
}


async def test_what_cannot_be_an_invitation_is_refused(commands: Commands) -> None:
    for words, message in REFUSED.items():
        refused = await commands.operator("invite", *words)
        assert refused.exit_code == 1
        assert message in refused.output
        assert refused.stdout == "", "no code"


async def test_a_port_that_cannot_accept_any_more_is_opened_anew(
    commands: Commands, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(joinport, "AGAIN_SECONDS", 0.05)
    accept, broken = Acceptor._accept, list[int]()

    def break_once(self: Acceptor, listener: socket.socket) -> None:
        if listener.getsockname()[1] == int(commands.host.join.rpartition(":")[2]) and not broken:
            broken.append(listener.fileno())
            assert self._over is not None
            asyncio.get_running_loop().remove_reader(listener)
            self._over.set_exception(OSError(errno.EBADF, "the listener is gone"))
            return
        accept(self, listener)

    monkeypatch.setattr(Acceptor, "_accept", break_once)
    code = await commands.code("--node", "SL-new")
    async for _ in Backoff(0.05, 0.2):
        if (await commands.join(code, "new", "--wait", "0")).exit_code == STILL_WAITING:
            break
    assert broken
    assert any("The join port was closed: " in each for each in caplog.messages)


async def test_a_port_that_is_in_use_ends_nothing_and_is_tried_again(
    commands: Commands, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(joinport, "AGAIN_SECONDS", 0.05)

    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    port = int(commands.host.join.rpartition(":")[2])
    occupied = await asyncio.start_server(hang_up, "127.0.0.1", port)
    code = (await commands.operator("invite", "--node", "SL-new")).stdout.strip()
    refused = await commands.join(code, "new", "--wait", "0")
    assert "no SN can be reached at 127.0.0.1" in refused.output
    occupied.close()
    await occupied.wait_closed()
    await commands.host.until(is_open=True)
    assert (await commands.join(code, "new", "--wait", "0")).exit_code == STILL_WAITING
    told = [each for each in caplog.messages if each.startswith("Nobody can join through this SN")]
    assert len(told) == 1
    assert "the port is in use" in told[0]
