"""The operator's files of examples/fashion_mnist, carried out by SN, SWOP and SWCI as its page says."""

import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from support.certs import make_workspace
from support.ports import fixed_port
from support.processes import COMMAND, Processes
from support.swarm import Swarm, identity_options
from support.swops import end_pairs

EXAMPLE = Path(__file__).parents[2] / "examples" / "fashion_mnist"
NODES = ["SN-1", "SL-1", "SL-2", "SL-3", "SWOP-1", "SWCI-1"]


@pytest.fixture
def swarm(processes: Processes, tmp_path: Path) -> Iterator[Swarm]:
    """A swarm with the example's user directory in `usr` and a SWOP that follows its taskrunner."""
    made = Swarm(processes, tmp_path, make_workspace(tmp_path / "cert", NODES))
    assert made.start_sn().ready
    shutil.copytree(EXAMPLE, tmp_path / "examples" / "fashion_mnist")
    profile = tmp_path / "usr" / "swop_profile.yaml"
    shutil.copytree(EXAMPLE / "operate", profile.parent)
    replace(
        profile.parent,
        {
            "<CURRENT-PATH>": str(tmp_path),
            "port: 30304": f"port: {made.port}",
            "ip 127.0.0.1": f"ip 127.0.0.1 {made.port}",
            "MAX_EPOCHS: 4": "MAX_EPOCHS: 3, IMAGES: 4000, OMP_NUM_THREADS: 1",
            **{f"slport: 1600{number}": f"slport: {fixed_port()}" for number in (1, 2, 3)},
        },
    )
    options: dict[str, str | Path] = {
        "usr-dir": profile.parent,
        "profile-file-name": profile.name,
        "data-dir": tmp_path / "swop",
        **identity_options(made.identities["SWOP-1"]),
    }
    swop = processes.node("SWOP-1", "swop", options)
    try:
        assert swop.ready
        yield made
    finally:
        swop.kill()
        end_pairs(profile, tmp_path / "swop")


def replace(folder: Path, changes: Mapping[str, str]) -> None:
    """Replaces these texts in all files of a folder; each is in one at least."""
    files = {path: path.read_text() for path in folder.rglob("*") if path.is_file()}
    assert all(any(old in text for text in files.values()) for old in changes)
    for path, text in files.items():
        for old, new in changes.items():
            text = text.replace(old, new)
        path.write_text(text)


def test_one_script_builds_and_trains(swarm: Swarm) -> None:
    options: dict[str, str | Path] = {
        "usr-dir": swarm.directory / "usr",
        "init-script-name": "swci-init",
        "data-dir": swarm.directory / "swci",
        **identity_options(swarm.identities["SWCI-1"]),
    }
    words = [word for option, value in options.items() for word in (f"--{option}", value)]
    swci = swarm.processes.start("SWCI-1", *COMMAND, "swci", *words)
    assert swci.wait(300) == 0, swci.output
    assert swci.output.count("TASK_STATE : COMPLETE") == 2
    assert all(f"SL-{number}" in swci.output for number in (1, 2, 3))
