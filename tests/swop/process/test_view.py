"""Views of the file system, made by root and by a user without privileges, each in a process of its own."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from support.tools import needs
from swarmlearning.swop.process.view import Mount

pytestmark = needs("views")

See = Callable[..., dict[str, Any]]

VIEWER = """
import ctypes, json, os, pathlib, sys
from swarmlearning.swop.process import view
user, scratch, mounts, folders, most, script = json.loads(sys.argv[1])
view.MOST_ENTRIES = most
if user:
    os.setgroups([])
    os.setresgid(user, user, user)
    os.setresuid(user, user, user)
    ctypes.CDLL(None).prctl(4, 1)  # PR_SET_DUMPABLE: /proc/self is this user's again, as after exec
try:
    view.enter(pathlib.Path(scratch), [view.Mount(*mount) for mount in mounts], folders)
except view.ViewError as error:
    print(json.dumps({"error": str(error)}))
else:
    print(json.dumps({"seen": eval(script, {"os": os, "Path": pathlib.Path})}))
"""


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder for all users, with a `shared` one and an empty one for mount points."""
    with tempfile.TemporaryDirectory(prefix="swarm-view-") as name:
        made = Path(name)
        for each in (made, made / "shared", made / "scratch"):
            each.mkdir(exist_ok=True)
            each.chmod(0o777)
        (made / "shared/whose").write_text("mine")
        yield made


@pytest.fixture(params=[0, 54321], ids=["root", "user"])
def see(request: pytest.FixtureRequest, folder: Path) -> See:
    """Evaluates an expression in a view."""
    if os.geteuid() != 0 and request.param == 0:
        pytest.skip("a view by root needs root: run the tests as root")
    user = request.param if os.geteuid() == 0 else 0

    def looked(script: str, *mounts: Mount, folders: tuple[str, ...] = (), most: int = 4096) -> dict[str, Any]:
        scratch = tempfile.mkdtemp(dir=folder / "scratch")
        Path(scratch).chmod(0o777)
        given = json.dumps([user, scratch, mounts, folders, most, script])
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        command = [sys.executable, "-c", VIEWER, given]
        output = subprocess.run(command, capture_output=True, text=True, check=True, env=environment, timeout=60).stdout
        answer: dict[str, Any] = json.loads(output)
        return answer

    return looked


def test_a_folder_appears_where_the_host_has_none(see: See, folder: Path) -> None:
    mount = Mount(str(folder / "shared"), "/platform-of-test/a/b")
    script = "[Path('/platform-of-test/a/b/whose').read_text(), os.path.isdir('/etc'), os.path.isdir('/proc/self')]"
    assert see(script, mount) == {"seen": ["mine", True, True]}
    assert not Path("/platform-of-test").exists()


def test_a_file_can_be_mounted_and_a_folder_be_made(see: See, folder: Path) -> None:
    mount = Mount(str(folder / "shared/whose"), "/tmp/of-test.txt")
    script = "[Path('/tmp/of-test.txt').read_text(), Path('/work-of-test/x').write_text('new')]"
    assert see(script, mount, folders=("/work-of-test",)) == {"seen": ["mine", 3]}
    assert not Path("/work-of-test").exists()


def test_what_others_have_put_at_the_place_of_a_fresh_mount_is_ignored(see: See, folder: Path) -> None:
    place, target = folder / "hpe-swarm", folder / "target"
    target.mkdir()
    place.symlink_to(target)
    script = f"[os.listdir({str(place)!r}), os.listdir({str(target)!r}), os.path.islink({str(place)!r})]"
    assert see(script, Mount(str(folder / "shared"), str(place), True)) == {"seen": [["whose"], [], False]}
    place.unlink()
    place.write_text("a file")
    assert see(script, Mount(str(folder / "shared"), str(place), True)) == {"seen": [["whose"], [], False]}


def test_links_on_the_way_lead_to_the_same_place_as_on_the_host(see: See, folder: Path) -> None:
    (folder / "real").mkdir()
    (folder / "link").symlink_to(folder / "real")
    script = f"Path('{folder}/real/data/whose').read_text() + Path('{folder}/link/data/whose').read_text()"
    assert see(script, Mount(str(folder / "shared"), str(folder / "link/data"))) == {"seen": "minemine"}


def test_what_is_written_beside_a_new_mount_point_stays_in_the_view(see: See, folder: Path) -> None:
    (folder / "kept").write_text("kept")
    script = f"[Path('{folder}/kept').read_text(), Path('{folder}/new').write_text('new')]"
    assert see(script, Mount(str(folder / "shared"), str(folder / "data"))) == {"seen": ["kept", 3]}
    assert not (folder / "new").exists()
    assert not (folder / "data").exists()


def test_a_folder_with_too_many_entries_gets_no_mount_point(see: See, folder: Path) -> None:
    error = see("0", Mount(str(folder / "shared"), str(folder / "data")), most=1)["error"]
    assert error.startswith(f"{folder} has ")
    assert "1 at most are shown beside a new mount point" in error


def test_what_is_not_there_cannot_be_mounted(see: See, folder: Path) -> None:
    assert "No such file" in see("0", Mount(str(folder / "absent"), "/tmp/of-test"))["error"]


def test_no_link_on_the_way_to_what_is_mounted_is_followed(see: See, folder: Path) -> None:
    (folder / "swapped").symlink_to(folder / "shared")
    for source in ("swapped", "swapped/whose"):
        error = see("0", Mount(str(folder / source), "/tmp/of-test"))["error"]
        assert "swapped" in error
