"""The operator's example, followed literally: behind a reverse proxy, and without a SWOP.

Its way by local processes is that of docs/ten-minutes.md: test_walkthrough.py.
"""

import os
import re
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

import swarmlearning
from support.pages import read
from support.processes import forked_commands
from support.swops import end_pairs
from support.terminal import OWN_NETWORK, Terminal
from support.tools import needs
from swarmlearning.taskfiles.definition import MakeUserContainer
from swarmlearning.taskfiles.taskfile import read_task_file

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "fashion_mnist"
OPERATE = EXAMPLE / "operate"
SMALLER = "s/MAX_EPOCHS: 4/MAX_EPOCHS: 3, IMAGES: 4000, OMP_NUM_THREADS: 1/"
METRICS = re.compile(r"^ +\S+ +SL-[123] +(?:True|False) +\S+ +(\S+) +3 +3\s*$", re.MULTILINE)


def steps(where: str) -> list[str]:
    """The commands that the example's README shows at this prompt."""
    return [line for block in read(OPERATE / "README.md").shown for name, line in block.commands if name == where]


def follow(site: Terminal, commands: list[str], *changes: str) -> dict[str, str]:
    """Types these commands; the output of each, by its first two words. Trains on less, to be short.

    `changes`: of the task that trains, besides.
    """
    outputs = {}
    for command in commands:
        answer = site.type(command)
        assert answer.status == 0, f"$ {command}\n{answer.output}"
        outputs[" ".join(command.split()[:2])] = answer.output
        if command.startswith("cp"):
            changed = ";".join([SMALLER, *changes])
            assert site.type(f"sed -i '{changed}' usr/taskdefs/swarm_fashion_task.yaml").status == 0
    return outputs


def assert_trained(output: str) -> None:
    """SWCI's script has shown two tasks that are complete, and the same metric of all three sites."""
    assert output.count("TASK_STATE : COMPLETE") == 2, output
    metrics = METRICS.findall(output)
    assert len(metrics) == 3, output
    assert len(set(metrics)) == 1


def clone(folder: Path) -> None:
    """What the example needs of a clone of this repository."""
    shutil.copytree(EXAMPLE, folder / "examples" / "fashion_mnist")
    (folder / "scripts").symlink_to(ROOT / "scripts")


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Terminal]:
    """A terminal with a network and an /etc/hosts of its own."""
    home, folder = tmp_path / "home", tmp_path / "site"
    home.mkdir()
    shutil.copy("/etc/hosts", tmp_path / "hosts")
    terminal = Terminal(folder, home, (*OWN_NETWORK, "--mount"), forked_commands(tmp_path / "commands", torch=True))
    clone(folder)
    try:
        assert terminal.type(f"ip link set lo up && mount --bind {tmp_path / 'hosts'} /etc/hosts").status == 0
        yield terminal
    finally:
        terminal.close()
        if (folder / "swop" / "process").exists():
            end_pairs(folder / "usr" / "proxy_profile.yaml", folder / "swop")
        if (daemon := folder / "usr" / "nginx.pid").exists():
            os.kill(int(daemon.read_text()), signal.SIGTERM)


@needs("netns")
@needs("nginx")
def test_the_example_trains_behind_a_reverse_proxy(site: Terminal, tmp_path: Path) -> None:
    """Its scripts are forked; that they run in the environment that a task has made is shown by test_walkthrough.py."""
    forked = f"s#Entrypoint: python3#Entrypoint: {tmp_path}/commands/python3#"
    assert_trained(follow(site, steps("proxied"), forked)["swarm swci"])


@needs("netns")
def test_the_example_trains_by_hand(site: Terminal) -> None:
    *commands, last = steps("by-hand")
    assert site.type("export MAX_EPOCHS=3 IMAGES=4000").status == 0
    try:
        outputs = follow(site, commands)
    finally:
        stopped = site.type(last)
    assert "accuracy 0." in outputs["scripts/bin/run-sl --name"]
    assert stopped.status == 0, stopped.output


def test_its_image_is_built_on_that_of_this_version() -> None:
    file = OPERATE / "taskdefs" / "user_env_build_task.yaml"
    task = read_task_file(file.read_bytes(), file.name)
    assert isinstance(task.definition, MakeUserContainer)
    assert task.definition.build_steps[0] == f"FROM swarmlearning/user:{swarmlearning.__version__}"
