"""A session of SWCI with a real SN: what it prints is that of the transcripts in `tests/data/swci`."""

import io
import re
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from support.certs import make_workspace, with_key
from support.heard import hearing
from support.local_sn import running_sn
from support.network import Ledger
from support.ports import fixed_port
from support.scripted_sn import STATUS, scripted_sn
from swarmlearning.identity.identity import Identity
from swarmlearning.identity.source import Latest
from swarmlearning.ledger.contracts import network
from swarmlearning.ledger.contracts.network import Node
from swarmlearning.operator.acts import revoke_node
from swarmlearning.operator.session import acting
from swarmlearning.swci.session import Session, SessionSettings
from swarmlearning.swci.shell import Screen, run_script

DATA = Path(__file__).parents[1] / "data" / "swci"
MASKS = (
    (r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "<UID>"),
    (r"\b[0-9a-f]{64}\b", "<ID>"),
    (r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\dZ", "<TIME>"),
)


@pytest.fixture
def identities(tmp_path: Path) -> dict[str, Identity]:
    return make_workspace(tmp_path / "cert", ["SN-1", "SWCI-1"])


@pytest.fixture
async def port(tmp_path: Path, identities: dict[str, Identity]) -> AsyncIterator[str]:
    """The port of an SN at work."""
    async with running_sn(tmp_path / "sn", identities["SN-1"]) as facts:
        yield facts["api"].rpartition(":")[2]


def settings(tmp_path: Path, identity: Identity) -> SessionSettings:
    user = tmp_path / "usr"
    user.mkdir(exist_ok=True)
    for file in DATA.glob("*.yaml"):
        shutil.copy(file, user)
    return SessionSettings(Latest(identity), tmp_path / "home", user, retry_seconds=0.01, mark_seconds=0.01)


async def transcript(session: Session, script: str) -> str:
    """What a script shows."""
    stream = io.StringIO()
    try:
        await run_script(session, Screen(session, stream, notes=False), script.splitlines())
    finally:
        await session.close()
    return stream.getvalue()


def masked(text: str, port: str, folder: Path) -> str:
    for pattern, mark in ((re.escape(port), "<PORT>"), (re.escape(str(folder)), "<FOLDER>"), *MASKS):
        text = re.sub(pattern, mark, text)
    return text


@pytest.mark.parametrize("name", ["contracts", "tasks"])
async def test_a_script_shows_the_transcript_that_it_should(
    name: str, tmp_path: Path, identities: dict[str, Identity], port: str
) -> None:
    """The commands of the transcript are executed; what they print has to be what stands there."""
    expected = (DATA / f"{name}.txt").read_text()
    script = [line.partition(" > ")[2] for line in expected.splitlines() if line.startswith("SWCI:")]
    answers = ("EXIT ON FAILURE IS", "Current Directory :")
    commands = "\n".join(line for line in script if not line.startswith(answers)).replace("<PORT>", port)
    shown = await transcript(Session(settings(tmp_path, identities["SWCI-1"])), commands)
    assert masked(shown, port, tmp_path) == expected


async def test_a_failure_ends_a_session_only_while_exit_on_failure_is_on(
    tmp_path: Path, identities: dict[str, Identity]
) -> None:
    session = Session(settings(tmp_path, identities["SWCI-1"]))
    shown = await transcript(session, "LIST NODES\nEXIT ON FAILURE\nLIST NODES\nPWD\n")
    assert shown.count("ERROR : no context is in use") == 2
    assert "PWD" not in shown
    assert (session.failed, session.number) == (True, 3)


async def test_exit_ends_a_session_without_failure(tmp_path: Path, identities: dict[str, Identity]) -> None:
    session = Session(settings(tmp_path, identities["SWCI-1"]))
    assert (await transcript(session, "EXIT ON FAILURE\nEXIT\nPWD\n")).endswith("SWCI:1 > EXIT\n")
    assert (session.ended, session.failed) == (True, False)


async def test_an_sn_that_is_not_up_is_waited_for_with_marks(tmp_path: Path, identities: dict[str, Identity]) -> None:
    session = Session(settings(tmp_path, identities["SWCI-1"]))
    shown = await transcript(session, f"WAIT FOR IP 127.0.0.1 {fixed_port()} 3")
    assert "\n    ###\nERROR : API Server is not up after 4 attempts: SN 127.0.0.1:" in shown


async def test_two_sessions_of_one_identity_work_beside_each_other(
    tmp_path: Path, identities: dict[str, Identity], port: str
) -> None:
    first, second = (Session(settings(tmp_path, identities["SWCI-1"])) for _ in range(2))
    script = f"CREATE CONTEXT c WITH IP 127.0.0.1 {port}\nSWITCH CONTEXT c\nCREATE CONTRACT {{}}\n"
    stream = io.StringIO()
    await run_script(first, Screen(first, stream, notes=False), script.format("one").splitlines())
    assert "CONTRACT CREATED : two" in await transcript(second, script.format("two"))
    assert "two" in await transcript(first, "LIST CONTRACTS")
    assert "CONTRACT CREATED : one" in stream.getvalue()


async def test_files_stay_in_the_user_directory_where_that_is_demanded(
    tmp_path: Path, identities: dict[str, Identity]
) -> None:
    given = settings(tmp_path, identities["SWCI-1"])
    assert given.user_directory
    (given.user_directory / "taskdefs").mkdir()
    (given.user_directory / "way-out").symlink_to(tmp_path)
    confined = Session(SessionSettings(given.source, given.home, given.user_directory, web=True))
    shown = await transcript(confined, "cd taskdefs\ncd ..\ncd ..\nls way-out\ncd /\nls /etc/passwd\npwd\n")
    assert shown.count("lies outside the user directory") == 4
    assert shown.endswith(f"    {given.user_directory.resolve()}\n")


async def test_a_task_file_with_faults_is_refused_with_each_of_them(
    tmp_path: Path, identities: dict[str, Identity]
) -> None:
    session = Session(settings(tmp_path, identities["SWCI-1"]))
    shown = await transcript(session, "CREATE TASK FROM terms.yaml")
    assert shown.count("\nERROR : terms.yaml:") == 1
    assert shown.count("\n        terms.yaml:") > 1


async def test_a_context_outlives_a_restart_of_its_sn(tmp_path: Path, identities: dict[str, Identity]) -> None:
    session, port = Session(settings(tmp_path, identities["SWCI-1"])), fixed_port()
    stream = io.StringIO()

    async def execute(script: str) -> str:
        before = len(stream.getvalue())
        await run_script(session, Screen(session, stream, notes=False), script.splitlines())
        return stream.getvalue()[before:]

    async with running_sn(tmp_path / "sn", identities["SN-1"], port=port):
        await execute(f"CREATE CONTEXT c WITH IP 127.0.0.1 {port}\nSWITCH CONTEXT c\nCREATE CONTRACT before\n")
    shown = await execute("LIST CONTRACTS")
    assert f"ERROR : SN 127.0.0.1:{port} cannot be reached: " in shown
    async with running_sn(tmp_path / "sn", identities["SN-1"], port=port, sentinel=False):
        shown = await execute(f"WAIT FOR IP 127.0.0.1 {port}\nCREATE CONTRACT after\nLIST CONTRACTS\n")
        assert "CONTRACT CREATED : after" in shown
        assert shown.endswith("    after\n    before\n    defaultbb.cqdb.sml.hpe\n")
        await session.close()


async def test_an_operator_whose_certificate_is_revoked_is_told_so(tmp_path: Path) -> None:
    identities = make_workspace(tmp_path / "cert", ["SN-1", "SWCI-1", "SWCI-2"])
    async with running_sn(tmp_path / "sn", identities["SN-1"]) as facts:
        session = Session(settings(tmp_path, identities["SWCI-1"]))
        port = facts["api"].rpartition(":")[2]
        start = f"CREATE CONTEXT c WITH IP 127.0.0.1 {port}\nSWITCH CONTEXT c\nCREATE CONTRACT one\n"
        stream = io.StringIO()
        await run_script(session, Screen(session, stream, notes=False), start.splitlines())
        async with acting(facts["api"], Latest(identities["SWCI-2"]), tmp_path / "other") as other:
            await other.perform(revoke_node(other.chain.world, "SWCI-1"))
        shown = await transcript(session, "LIST CONTRACTS\nCREATE CONTRACT two\n")
        assert len(re.findall(r"^ERROR : .*revoked", shown, re.MULTILINE)) == 2, shown


async def test_a_session_that_gets_another_certificate_goes_on_as_the_same_operator(
    tmp_path: Path, identities: dict[str, Identity], port: str
) -> None:
    given = settings(tmp_path, identities["SWCI-1"])
    source = given.source
    assert isinstance(source, Latest)
    session = Session(given)

    async def execute(script: str) -> tuple[str, Node]:
        """What it shows, and SWCI's node on the ledger after it."""
        stream = io.StringIO()
        await run_script(session, Screen(session, stream, notes=False), script.splitlines())
        chain = await session.chain()
        [node] = [known for known in network.nodes(chain.world) if known.type == "SWCI"]
        return stream.getvalue(), node

    with hearing("swarm.identity") as heard:
        _, before = await execute(f"CREATE CONTEXT c WITH IP 127.0.0.1 {port}\nSWITCH CONTEXT c\nCREATE CONTRACT one\n")
        new = with_key(tmp_path / "cert", "SWCI-1", "ed25519")
        source.replace(new)
        await heard.until("The ledger has the certificate in")
        shown, after = await execute("CREATE CONTRACT two\n")
    assert "CONTRACT CREATED : two" in shown
    assert after == msgspec.structs.replace(before, certificate=new.thumbprint)
    await session.close()


async def test_contexts_of_two_networks_are_kept_apart(tmp_path: Path) -> None:
    identities = make_workspace(tmp_path / "cert", ["SN-1", "SN-2", "SWCI-1"])
    async with (
        running_sn(tmp_path / "one", identities["SN-1"], name="one") as one,
        running_sn(tmp_path / "two", identities["SN-2"], name="two") as two,
    ):
        ports = [facts["api"].rpartition(":")[2] for facts in (one, two)]
        shown = await transcript(
            Session(settings(tmp_path, identities["SWCI-1"])),
            f"CREATE CONTEXT a WITH IP 127.0.0.1 {ports[0]}\nCREATE CONTEXT b WITH IP 127.0.0.1 {ports[1]}\n"
            "SWITCH CONTEXT a\nCREATE CONTRACT of-a\nSWITCH CONTEXT b\nCREATE CONTRACT of-b\n"
            "SET CONTEXT ENV a COLOUR red\nGET CONTEXT ENV COLOUR\nLIST CONTRACTS\nGET CONTEXT INFO a\n",
        )
    assert "    of-b\n" in shown
    assert "    of-a\n" not in shown
    assert "ERROR : the context has no variable COLOUR" in shown
    assert "    NETWORK : one\n" in shown


async def test_what_an_sn_states_of_itself_is_shown_escaped_and_names_no_folder(tmp_path: Path) -> None:
    ledger = Ledger()
    identities = make_workspace(tmp_path / "cert", ["SN-1", "SWCI-1"], ledger.authority)
    stated = {**STATUS, "network_id": "../../elsewhere", "network": "\x1b[2Jcleared", "version": "1\nERROR : 2"}
    async with scripted_sn(identities["SN-1"], list(ledger.blocks)) as sn:
        sn.answers = [lambda _: (200, stated)] * 2
        shown = await transcript(
            Session(settings(tmp_path, identities["SWCI-1"])),
            f"CREATE CONTEXT c WITH IP 127.0.0.1 {sn.address.rpartition(':')[2]}\nSWITCH CONTEXT c\nGET CONTEXT INFO\n"
            "GET CONTEXT VERSION",
        )
    assert f"    NETWORK ID : {ledger.chain.network_id}\n" in shown
    assert "    NETWORK : \\x1b[2Jcleared\n" in shown
    assert shown.endswith("    API SERVER VERSION : 1\\nERROR : 2\n")
    assert "\x1b" not in shown
