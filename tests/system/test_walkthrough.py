"""The walk-throughs of docs/ (two-organisations, invite-and-join, ten-minutes): their commands, in their order."""

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.pages import page
from support.processes import forked_commands
from support.swops import end_pairs
from support.terminal import OWN_NETWORK, Terminal, beside
from support.tools import needs
from swarmlearning.identity.certificates import thumbprint
from swarmlearning.identity.requests import fingerprint
from swarmlearning.identity.workspace import Workspace
from swarmlearning.node.datadir import DataDirectory

ROOT = Path(__file__).parents[2]
TWO = page("two-organisations")
STEPS = [command for block in TWO.shown for command in block.commands]
[TRAIN] = [block.text for block in TWO.blocks if block.language == "python"]
OPERATE_STEPS = [command.line for block in page("ten-minutes").shown for command in block.commands]


@pytest.fixture
def terminals(tmp_path: Path) -> Iterator[dict[str, Terminal]]:
    home = tmp_path / "home"
    home.mkdir()
    commands = forked_commands(tmp_path / "commands")
    north = Terminal(tmp_path / "north", home, OWN_NETWORK, commands)
    assert north.type("ip link set lo up").status == 0
    south = Terminal(tmp_path / "south", home, beside(north.pid), commands)
    for name in ("north", "south"):
        (tmp_path / name / "train.py").write_text(TRAIN)
    try:
        yield {"north": north, "south": south}
    finally:
        south.close()
        north.close()


@needs("netns")
def test_the_walk_through_of_two_organisations_works_as_the_page_shows_it(
    terminals: dict[str, Terminal], tmp_path: Path
) -> None:
    outputs: dict[str, list[str]] = {}
    uids: list[str] = []
    for where, command in STEPS:
        if command.startswith("swarm node revoke"):  # once it has left the training
            assert terminals[where].type("wait %2 %3 || true").status == 0
        answer = terminals[where].type(command)
        assert answer.status == 0, f"{where}$ {command}\n{answer.output}"
        outputs.setdefault(" ".join(command.split()[:3]), []).append(answer.output)
        if where == "south" and command.startswith("swarm sl"):
            with DataDirectory(tmp_path / "south" / "sl") as place:
                uids.append(place.uid)
    for run in (1, 2):
        models = [(tmp_path / name / f"sl/results/scans-run{run}.safetensors").read_bytes() for name in terminals]
        assert models[0] == models[1], f"the models of run {run} differ"
    assert len(set(uids)) == 1, "a renewed certificate is one of the same node"
    assert re.search(r"north +\S+ +takes part\s+south +\S+ +takes part", outputs["swarm organisation list"][0])
    assert "is revoked" in outputs["swarm node revoke"][0]
    again = next(command for where, command in STEPS if where == "north" and command.startswith("swarm sl"))
    refused = terminals["north"].type(again.removesuffix("&"))
    assert refused.status == 1
    assert "revoked" in refused.output


JOIN_STEPS = [block.commands for block in page("invite-and-join").shown]


@pytest.fixture
def hospitals(tmp_path: Path) -> Iterator[dict[str, Terminal]]:
    """North with its SN and its operator, as in the first walk-through, and two who want to join."""
    home = tmp_path / "home"
    home.mkdir()
    commands = forked_commands(tmp_path / "commands")
    north = Terminal(tmp_path / "north", home, OWN_NETWORK, commands)
    found = {"north": north}
    try:
        assert north.type("ip link set lo up").status == 0
        for where, command in STEPS:
            if where == "north" and command.startswith(("swarm cert", "export", "swarm sn")):
                assert north.type(command).status == 0
        for name in ("east", "west"):
            found[name] = Terminal(tmp_path / name, home, beside(north.pid), commands)
        yield found
    finally:
        for terminal in reversed(found.values()):
            terminal.close()


@needs("netns")
def test_an_organisation_and_a_node_join_by_codes_in_five_commands_at_most_as_the_page_shows_it(
    hospitals: dict[str, Terminal], tmp_path: Path
) -> None:
    code, outputs = "", dict[str, str]()
    assert [len(steps) for steps in JOIN_STEPS] == [4, 3], "at most five, with the command that starts the node"
    for where, command in (step for steps in JOIN_STEPS for step in steps):
        waits = "--host-ip" in command
        typed = command.replace("CODE", code) + (" &" if waits else "")
        answer = hospitals[where].type(typed, says="y")
        assert answer.status == 0, f"{where}$ {command}\n{answer.output}"
        outputs[f"{where}$ {command}"] = answer.output
        [code] = re.findall(r"^(swarm1[a-z2-7]+)$", answer.output, re.MULTILINE) or [code]
    asked = outputs["east$ swarm join CODE"]
    assert "signed by nobody, not yet by north" in asked
    assert thumbprint(Workspace(tmp_path / "east/cert").load_authority("east").certificate) in asked
    assert re.search(r"east +\S+ +takes part", hospitals["north"].type("swarm organisation list").output)
    joined = hospitals["west"].type("wait").output
    place = Workspace(tmp_path / "west/cert")
    own = fingerprint(place.identity("SL-west").certificate.public_key())
    assert own in outputs["north$ swarm ca sign --out cert"]
    assert own in outputs["west$ swarm join CODE --host-ip 127.0.0.1"]
    assert place.key("SL-west").stat().st_mode & 0o777 == 0o600
    [start] = re.findall(r"^  (swarm sl .+) -- python train.py$", joined, re.MULTILINE)
    assert "Waiting for the ML process" in hospitals["west"].type(f"{start} &").output


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Terminal]:
    """A terminal in a folder that has the example, as a clone would."""
    home, folder = tmp_path / "home", tmp_path / "site"
    home.mkdir()
    terminal = Terminal(folder, home, commands=forked_commands(tmp_path / "commands"))
    shutil.copytree(ROOT / "examples" / "fashion_mnist", folder / "examples" / "fashion_mnist")
    try:
        assert terminal.type("ip link set lo up").status == 0
        yield terminal
    finally:
        terminal.close()
        if (folder / "swop" / "process").exists():
            end_pairs(folder / "usr" / "swop_profile.yaml", folder / "swop")


@needs("netns")
def test_a_swarm_is_operated_in_ten_minutes_as_the_page_shows_it(site: Terminal) -> None:
    for command in OPERATE_STEPS:
        answer = site.type(command)
        assert answer.status == 0, f"site$ {command}\n{answer.output}"
        if command.startswith("sed"):  # the tests' time is short
            smaller = "s/MAX_EPOCHS: 4/MAX_EPOCHS: 3, IMAGES: 4000, OMP_NUM_THREADS: 1/"
            assert site.type(f"sed -i '{smaller}' usr/taskdefs/swarm_fashion_task.yaml").status == 0
    assert answer.output.count("TASK_STATE : COMPLETE") == 2
    metrics = re.findall(r"^ +\S+ +SL-[123] +(?:True|False) +\S+ +(\S+) +3 +3$", answer.output, re.MULTILINE)
    assert len(metrics) == 3
    assert len(set(metrics)) == 1
