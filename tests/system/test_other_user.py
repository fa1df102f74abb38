"""Scripts that run as another user than their SLs, with our client and with the original's, in one folder a pair."""

import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.processes import Process
from support.swarm import Swarm, assert_complete, identity_options

GROUP, USER = 4711, 1000
AS_USER = """
import argparse, importlib, locale, os, shutil, sys
script = importlib.import_module(sys.argv[1])
import numpy.random, numpy.random._pickle
os.setgroups([int(sys.argv[3])])
os.setgid(int(sys.argv[2]))
os.setuid(int(sys.argv[2]))
del sys.argv[1:4]
script.main()
"""
"""Other users cannot read the tests' Python: all is imported before."""

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="switching users needs root: run the tests as root")


@pytest.fixture
def public() -> Iterator[Path]:
    """A folder that other users may enter."""
    with tempfile.TemporaryDirectory(prefix="swarm-") as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


def start_site(swarm: Swarm, public: Path, index: int) -> tuple[Process, Path]:
    folder = public / f"pair-{index}"
    options = swarm.sl_options(
        index, data_dir=folder / "sl", channel_dir=folder, ml_group=str(GROUP), bridge_dir=folder
    )
    folder.mkdir()
    os.chown(folder, 0, GROUP)
    folder.chmod(0o3770)
    sl = swarm.processes.node(f"SL-{index}", "sl", options, ["--bridge"])
    assert sl.ready["channel"] == str(folder / "ml.sock")
    return sl, folder


def start_script(swarm: Swarm, index: int, module: str, folder: Path, *options: str) -> Process:
    variables = {
        "SWARM_CHANNEL": str(folder / "ml.sock"),
        "SL_REQUEST_CHANNEL": str(folder / "request.channel"),
        "SL_RESPONSE_CHANNEL": str(folder / "response.channel"),
        "PYTHONPATH": os.pathsep.join(sys.path),
    }
    words = [sys.executable, "-c", AS_USER, module, str(USER), str(GROUP), "--index", str(index), *options]
    return swarm.processes.start(f"ML-{index}", *words, environment=variables)


def test_scripts_of_another_user_train_with_either_client(swarm: Swarm, public: Path) -> None:
    swarm.start_sn()
    sls, folders = zip(*(start_site(swarm, public, index) for index in (1, 2)), strict=True)
    scripts = [
        start_script(swarm, 1, "support.ml", folders[0], "--rounds", "3", "--min-peers", "2"),
        start_script(swarm, 2, "support.original_client", folders[1], "--rounds", "3", "--folder", str(folders[1])),
    ]
    assert_complete(scripts)
    assert [sl.wait() for sl in sls] == [0, 0]
    training = swarm.training(swarm.chain())
    assert {member.contributed for member in training.members.values()} == {training.rounds}


def test_users_outside_the_group_cannot_reach_the_channel(swarm: Swarm, public: Path) -> None:
    swarm.start_sn()
    sl, folder = start_site(swarm, public, 1)
    script = swarm.processes.start(
        "ML-1",
        *[sys.executable, "-c", AS_USER, "support.ml", str(USER), str(USER), "--index", "1", "--rounds", "1"],
        environment={"SWARM_CHANNEL": str(folder / "ml.sock"), "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert script.wait() == 1
    assert "Permission denied" in script.output
    sl.kill()


def test_an_unknown_group_is_named(swarm: Swarm, tmp_path: Path) -> None:
    swarm.start_sn()
    options = {
        **swarm.sl_options(1, channel_dir=tmp_path / "c", ml_group="nosuchgroup"),
        **identity_options(swarm.identities["SL-1"]),
    }
    assert (
        "--ml-group nosuchgroup: there is no such group on this host"
        in swarm.processes.node("SL-1", "sl", options).complaint()
    )
