"""The README's walk-throughs, followed literally: their commands, in their order, at their terminals."""

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.swops import end_pairs
from support.terminal import Terminal, beside
from support.tools import needs
from swarmlearning.node.datadir import DataDirectory

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
SECTION = README.partition("\n## Two organisations, step by step\n")[2].partition("\n## ")[0]
STEPS = re.findall(r"^(north|south)\$ (.+)$", SECTION, re.MULTILINE)
[TRAIN] = re.findall(r"^```python\n(.+?)^```$", SECTION, re.MULTILINE | re.DOTALL)
OPERATE = README.partition("\n## Operate a swarm in ten minutes\n")[2].partition("\n## ")[0]
OPERATE_STEPS = re.findall(r"^site\$ (.+)$", OPERATE, re.MULTILINE)


@pytest.fixture
def terminals(tmp_path: Path) -> Iterator[dict[str, Terminal]]:
    home = tmp_path / "home"
    home.mkdir()
    north = Terminal(tmp_path / "north", home)
    assert north.type("ip link set lo up").status == 0
    south = Terminal(tmp_path / "south", home, beside(north.pid))
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
    terminal = Terminal(folder, home)
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
