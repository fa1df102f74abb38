"""The two documented endpoints of the web mode."""

import asyncio
from pathlib import Path

import pytest

from support.carried import CarryingSn
from support.operations import RUNNER
from support.webmode import WebMode
from swarmlearning.node.sealing import Piece
from swarmlearning.swci.web.commands import NO_EXIT, Commands

TASK = b"""Name: mine
TaskType: RUN_SWARM
Author: somebody
Prereq: ROOTTASK
Outcome: none
Body:
  Command: model.py
  Entrypoint: python3
  WorkingDir: /tmp/test
  Envvars: []
  PrivateContent:
  SharedContent:
"""


async def test_a_command_answers_with_what_it_prints(web: WebMode) -> None:
    assert await web.execute("list contexts") == ["c"]
    assert await web.execute("sleep 0") == []
    (failed,) = await web.execute("GET TASK INFO other")
    assert failed.startswith("ERROR : there is no task 'other'")
    (failed,) = await web.execute("format c:")
    assert failed.startswith("ERROR : column 1: ")


async def test_nodes_are_fields_separated_by_commas_below_a_header(web: WebMode) -> None:
    header, *nodes = await web.execute("list Nodes")
    assert header.split(",")[:2] == ["NODE TYPE", "HOST"]
    assert {len(each.split(",")) for each in nodes} == {7}
    assert [each.split(",")[0] for each in nodes] == ["SENTINEL", "SWOP", "SWOP", "SWOP"]


async def test_an_uploaded_task_is_created_by_its_name(web: WebMode) -> None:
    assert await web.upload("mine.yaml", TASK) == (200, "File uploaded : mine.yaml")
    assert "Task Registered : mine" in await web.execute("create task from mine.yaml")
    assert await web.execute("ls") == ["mine.yaml"]


async def test_what_others_have_named_as_a_failure_is_none(web: WebMode) -> None:
    await web.upload("ERROR : no task", TASK)
    assert await web.execute("ls") == [" ERROR : no task"]


async def test_an_upload_lies_in_the_current_directory(web: WebMode) -> None:
    (web.folder / "taskdefs").mkdir()
    assert await web.execute("cd taskdefs") == [f"Current Directory : {web.folder}/taskdefs"]
    await web.upload("mine.yaml", TASK)
    assert (web.folder / "taskdefs" / "mine.yaml").read_bytes() == TASK


@pytest.mark.parametrize("name", ["../out.yaml", "/tmp/out.yaml", "..", ".hidden", "-rf", "a\\b", "x" * 200])
async def test_an_upload_names_no_other_place(name: str, web: WebMode) -> None:
    status, answer = await web.upload(name, b"x")
    assert status == 409
    assert "a file's name has 1 to 128 printable characters" in answer["detail"]
    assert list(web.folder.iterdir()) == []


async def test_an_upload_replaces_neither_link_nor_folder_nor_the_script(web: WebMode, tmp_path: Path) -> None:
    (tmp_path / "outside").write_text("as before")
    (web.folder / "link").symlink_to(tmp_path / "outside")
    (web.folder / "folder").mkdir()
    for name in ("link", "folder", "swci-init"):
        status, answer = await web.upload(name, b"x")
        assert (status, name in answer["detail"]) == (409, True)
    assert (tmp_path / "outside").read_text() == "as before"


async def test_uploads_are_bounded_in_size_and_number(web: WebMode) -> None:
    assert (await web.upload("large", bytes((1 << 20) + 1)))[0] == 409
    assert (await web.upload("larger", bytes(2 << 20)))[0] == 413
    for number in range(1000):
        (web.folder / str(number)).touch()
    status, answer = await web.upload("one-more", b"x")
    assert (status, "1000 entries" in answer["detail"]) == (409, True)
    assert (await web.upload("7", b"x"))[0] == 200


async def test_commands_stay_in_the_user_directory(web: WebMode, tmp_path: Path) -> None:
    (tmp_path / "secret.yaml").write_bytes(TASK)
    (web.folder / "way-out").symlink_to(tmp_path)
    for command in (
        "cd ..",
        "cd /",
        "cd way-out",
        "ls ..",
        "ls /etc/passwd",
        "create task from ../secret.yaml",
        "create task from way-out/secret.yaml",
        "create contract c from /etc/passwd",
    ):
        (answer,) = await web.execute(command)
        assert answer.startswith("ERROR : ")
        assert answer.endswith("lies outside the user directory"), answer
    assert await web.execute("ls ; id") == ["ERROR : ;: cannot be listed: No such file or directory"]


async def test_a_long_command_does_not_keep_others_waiting(web: WebMode) -> None:
    long = asyncio.create_task(web.execute("SLEEP 1000"))
    waits = asyncio.create_task(web.execute("WAIT FOR IP sn1"))
    assert await waits == ["API Server is UP!"]
    assert not long.done()
    long.cancel()
    await asyncio.gather(long, return_exceptions=True)


async def test_neither_exit_nor_a_failure_ends_the_web_mode(web: WebMode) -> None:
    assert await web.execute("exit") == [NO_EXIT]
    await web.execute("EXIT ON FAILURE")
    await web.execute("GET TASK INFO other")
    assert await web.execute("LIST CONTEXTS") == ["c"]


async def test_commands_are_bounded_in_number_and_time(web: WebMode) -> None:
    commands = Commands(web.session, most=1, seconds=0.05)
    first, second = await asyncio.gather(commands.run("SLEEP 1000"), commands.run("PWD"))
    assert first == ["ERROR : the command was ended after 0.05 seconds"]
    assert second == ["ERROR : 1 commands are at work already; try again when one of them has ended"]
    assert await commands.run("PWD\nPWD") == ["ERROR : one command at a time: it is one line"]


async def test_what_a_command_prints_is_bounded(web: WebMode, monkeypatch: pytest.MonkeyPatch) -> None:
    await web.execute(f"assign task build to {RUNNER} with 3 peers")
    sn = CarryingSn(
        web.operations.ledger, Piece(b"x" * 999 + b"\n", "7:1", more=True), signed_by="swop-1", asker="op-1"
    )
    web.session.operator.clients = [sn]
    monkeypatch.setattr("swarmlearning.swci.web.commands.MOST_CHARACTERS", 3000)
    *lines, last = await web.execute(f"LOGS TASKRUNNER {RUNNER} PEER swop-1")
    assert (len(lines), last.startswith("ERROR : there are more than")) == (4, True)


async def test_a_command_ends_when_its_client_goes_away(web: WebMode, monkeypatch: pytest.MonkeyPatch) -> None:
    begun, ended = asyncio.Event(), asyncio.Event()

    async def endless(commands: Commands, text: str) -> list[str]:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()
        return []

    monkeypatch.setattr(Commands, "run", endless)
    client = asyncio.create_task(web.execute("PWD"))
    await begun.wait()
    client.cancel()
    async with asyncio.timeout(60):
        await ended.wait()
