"""The operator's example in containers, followed literally.

Images that run this machine's Python stand for those of `make images`, which tests/scripts/test_images.py builds: the
example's framework is on this machine already.
"""

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from support import images
from support.containers import PYTHON, Podman, podman, python_environment, python_folders, python_tree
from support.terminal import Terminal
from support.tools import needs
from swarmlearning import __version__
from system.test_operate_example import assert_trained, clone, follow, steps

DOCKERFILE = Path(__file__).parents[2] / "packaging" / "images" / "Dockerfile"
USR, STATE = "/platform/swarm/usr", "/platform/swarm/SMLNODE"
PYTHON_IMAGE = "localhost/python:latest"
BUILD_STEP = "RUN pip3 install torch torchmetrics scikit-learn"
pytestmark = needs("podman")


def folders() -> str:
    """The line that makes the folders of all images, and gives them to their group."""
    (line,) = re.findall(r"^RUN mkdir -p /platform(?:.*\\\n)*.*", DOCKERFILE.read_text(), re.MULTILINE)
    return str(line)


def dockerfile(kind: str) -> str:
    """An image with the folders of the real ones, and this machine's Python."""
    variables = " ".join(f"{name}={value}" for name, value in python_environment().items())
    lines = [
        f"FROM {PYTHON_IMAGE}",
        f"RUN ln -s {PYTHON} /bin/python3",
        folders(),
        f"ENV PATH=/bin HOME=/tmp SWARM_DATA_DIR={STATE} {variables}",
    ]
    lines += [f"ENV USR_DIR={USR}"] if kind in ("swop", "swci") else []
    return "\n".join([*lines, f'ENTRYPOINT ["swarm", "{kind}"]' if kind != "user" else ""])


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Podman]:
    """Has images of all nodes, and one for training."""
    with podman([*python_folders(), Path("/usr/share/datasets")]) as made:
        made.import_tree(python_tree(tmp_path / "tree"), PYTHON_IMAGE)
        for kind in ("sn", "sl", "swop", "swci", "user"):
            (tmp_path / "Dockerfile").write_text(dockerfile(kind))
            tag = f"swarmlearning/{kind}:{__version__}"
            made.run("build", "--quiet", "--layers", "--isolation", "chroot", "--tag", tag, tmp_path)
        yield made


@pytest.fixture
def site(engine: Podman, tmp_path: Path) -> Iterator[Terminal]:
    """A terminal that finds this engine as `docker` would be found."""
    home, folder = tmp_path / "home", tmp_path / "site"
    home.mkdir()
    terminal = Terminal(folder, home, ())
    clone(folder)
    program = images.program(engine, tmp_path / "bin")
    shutil.copy(program / "podman", program / "docker")
    try:
        assert terminal.type(f"export SWARM_RUNTIME=podman PATH={program}:$PATH").status == 0
        yield terminal
    finally:
        terminal.close()


def test_the_example_trains_in_containers(site: Terminal, engine: Podman, tmp_path: Path) -> None:
    commands = [
        f"{command} --docker-socket-file {engine.socket}" if "run-swop" in command else command
        for command in steps("contained")
    ]
    at = next(number for number, command in enumerate(commands) if command.startswith("sed"))
    commands.insert(at, f"sed -i '/{BUILD_STEP}/d' usr/taskdefs/user_env_build_task.yaml")
    assert_trained(follow(site, commands)["scripts/bin/run-swci --name"])
