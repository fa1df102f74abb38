"""The README's walk-throughs, followed literally: their commands, in their order, at their terminals."""

import os
import re
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import pytest

from support.swops import end_pairs
from support.tools import needs
from swarmlearning.node.datadir import DataDirectory

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
SECTION = README.partition("\n## Two organisations, step by step\n")[2].partition("\n## ")[0]
STEPS = re.findall(r"^(north|south)\$ (.+)$", SECTION, re.MULTILINE)
[TRAIN] = re.findall(r"^```python\n(.+?)^```$", SECTION, re.MULTILINE | re.DOTALL)
OPERATE = README.partition("\n## Operate a swarm in ten minutes\n")[2].partition("\n## ")[0]
OPERATE_STEPS = re.findall(r"^site\$ (.+)$", OPERATE, re.MULTILINE)
READY = r"Network swarm \(\w+\), height \d+\n|Waiting for the ML process|NODE UID :"
"""What nodes print once they work."""
SECONDS = 300.0


class Answer(NamedTuple):
    """What a command has printed, and its exit status (0 for one that goes on in the background)."""

    status: int
    output: str


class Terminal:
    """An interactive shell in a folder of its own, and in the network namespace of the process `beside`, if any."""

    def __init__(self, folder: Path, home: Path, beside: int | None) -> None:
        folder.mkdir()
        enter = ["unshare", "--net"] if beside is None else ["nsenter", "--net", "--target", str(beside)]
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("SWARM_", "SL_", "SN_"))}
        self._shell = subprocess.Popen(
            [*enter, "bash", "--norc"],
            cwd=folder,
            env={**kept, "PATH": path, "HOME": str(home), "OMP_NUM_THREADS": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            process_group=0,
        )
        self.pid = self._shell.pid

    def type(self, line: str) -> Answer:
        """Types a command and waits for its end; for one in the background, until a node has joined the network."""
        if line.endswith("&"):
            return Answer(0, self._until(line, READY))
        output = self._until(f"{line}\necho DONE=$?", r"DONE=\d+\n")
        return Answer(int(output.rpartition("DONE=")[2]), output)

    def close(self) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self.pid, 15)
        self._shell.communicate(timeout=SECONDS)

    def _until(self, line: str, pattern: str) -> str:
        assert self._shell.stdin
        assert self._shell.stdout
        self._shell.stdin.write(f"{line}\n".encode())
        self._shell.stdin.flush()
        deadline, output = time.monotonic() + SECONDS, b""
        while not re.search(pattern, output.decode(errors="replace")):
            left = max(0.0, deadline - time.monotonic())
            assert select.select([self._shell.stdout], [], [], left)[0], f"{line}\n{output.decode(errors='replace')}"
            part = os.read(self._shell.stdout.fileno(), 65536)
            assert part, f"the shell has ended\n{output.decode(errors='replace')}"
            output += part
        return output.decode(errors="replace")


@pytest.fixture
def terminals(tmp_path: Path) -> Iterator[dict[str, Terminal]]:
    home = tmp_path / "home"
    home.mkdir()
    north = Terminal(tmp_path / "north", home, None)
    assert north.type("ip link set lo up").status == 0
    south = Terminal(tmp_path / "south", home, north.pid)
    for name in ("north", "south"):
        (tmp_path / name / "train.py").write_text(TRAIN)
    try:
        yield {"north": north, "south": south}
    finally:
        south.close()
        north.close()


@needs("netns")
def test_the_walk_through_of_two_organisations_works_as_the_readme_shows_it(
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


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Terminal]:
    """A terminal in a folder that has the example, as a clone would."""
    home, folder = tmp_path / "home", tmp_path / "site"
    home.mkdir()
    terminal = Terminal(folder, home, None)
    shutil.copytree(ROOT / "examples" / "fashion_mnist", folder / "examples" / "fashion_mnist")
    try:
        assert terminal.type("ip link set lo up").status == 0
        yield terminal
    finally:
        terminal.close()
        if (folder / "swop" / "process").exists():
            end_pairs(folder / "usr" / "swop_profile.yaml", folder / "swop")


@needs("netns")
def test_a_swarm_is_operated_in_ten_minutes_as_the_readme_shows_it(site: Terminal) -> None:
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
