"""Access to the files and FIFOs that the SL and the original's client share."""

import os
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from support.bridging import Stand
from swarmlearning.bridge.access import Access
from swarmlearning.bridge.errors import BridgeError, Unusable
from swarmlearning.bridge.place import Place

NAMES = ["request.channel", "response.channel", "trained_weights.pkl", "merged_weights.pkl"]
NOBODY, DAEMON = 65534, 1
GROUP = 65533

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="files of other users can only be made by root")
TRIES = """
import os, sys
os.setgroups([int(group) for group in sys.argv[2:]])
os.setgid(65532)
os.setuid(1)
for name in ("request.channel", "response.channel", "trained_weights.pkl", "merged_weights.pkl"):
    try:
        os.close(os.open(os.path.join(sys.argv[1], name), os.O_RDWR | os.O_NONBLOCK))
    except PermissionError:
        print("refused")
    else:
        print("open")
"""


@pytest.fixture
def public() -> Iterator[Stand]:
    """In a folder that every user can see."""
    with tempfile.TemporaryDirectory() as directory:
        Path(directory).chmod(0o755)
        yield Stand(Path(directory))


def modes(stand: Stand) -> dict[str, int]:
    return {name: stat.S_IMODE((stand.folder / name).stat().st_mode) for name in NAMES}


@contextmanager
def umask(mask: int) -> Iterator[None]:
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


def make(path: Path, name: str, content: bytes) -> None:
    """Makes what the bridge has under `name`: a FIFO for a channel, else a file with this content."""
    if name.endswith("channel"):
        os.mkfifo(path)
    else:
        path.write_bytes(content)


async def refusal(stand: Stand) -> str:
    with pytest.raises(BridgeError) as caught:
        async with stand.bridge(stand.folder / "nobody"):
            pass
    return str(caught.value)


def tried_by_another_user(stand: Stand, *groups: int) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-I", "-c", TRIES, stand.folder, *map(str, groups)], capture_output=True, text=True, check=True
    )
    return set(done.stdout.split())


@pytest.mark.parametrize("mask", [0, 0o022, 0o077])
async def test_only_the_user_who_runs_the_sl_can_use_the_bridge_s_files(
    stand: Stand, mask: int, capsys: pytest.CaptureFixture[str]
) -> None:
    with umask(mask):
        async with stand.bridge(stand.folder / "nobody"):
            assert stat.S_IMODE(stand.folder.stat().st_mode) == 0o700
            assert modes(stand) == dict.fromkeys(NAMES, 0o600)
            assert stat.S_ISFIFO(stand.request.stat().st_mode)
            assert stat.S_ISFIFO(stand.response.stat().st_mode)
    first, second = capsys.readouterr().out.splitlines()
    assert first.endswith(f" {stand.request}: pipe created")
    assert second.endswith(f" {stand.response}: pipe created")


@as_root
async def test_another_user_can_open_no_file_of_the_bridge(public: Stand) -> None:
    async with public.bridge(public.folder / "nobody"):
        assert tried_by_another_user(public, GROUP) == {"refused"}


@as_root
@pytest.mark.parametrize("mask", [0, 0o077])
async def test_members_of_the_bridge_s_group_can_use_its_files_and_other_users_cannot(public: Stand, mask: int) -> None:
    with umask(mask):
        async with public.bridge(public.folder / "nobody", group=GROUP):
            assert stat.S_IMODE(public.folder.stat().st_mode) == 0o770
            assert modes(public) == dict.fromkeys(NAMES, 0o660)
            assert {(public.folder / name).stat().st_gid for name in NAMES} == {GROUP}
            assert tried_by_another_user(public, GROUP) == {"open"}
            assert tried_by_another_user(public) == {"refused"}


async def test_files_and_pipes_that_others_could_use_are_tightened(stand: Stand) -> None:
    async with stand.bridge(stand.folder / "nobody"):
        pass
    with umask(0):
        for path in (stand.request, stand.response):
            os.mkfifo(path, 0o777)
    for name in NAMES:
        (stand.folder / name).chmod(0o777)
    async with stand.bridge(stand.folder / "nobody"):
        assert modes(stand) == dict.fromkeys(NAMES, 0o600)


async def test_tighter_permissions_of_the_bridge_s_files_stay_as_they_are(stand: Stand) -> None:
    stand.folder.mkdir(mode=0o700)
    (stand.folder / "merged_weights.pkl").touch(0o600)
    (stand.folder / "merged_weights.pkl").chmod(0o400)
    if os.geteuid() == 0:  # who else cannot open it to write
        async with stand.bridge(stand.folder / "nobody"):
            assert modes(stand)["merged_weights.pkl"] == 0o400
    else:
        assert "merged_weights.pkl: cannot create file: Permission denied" in await refusal(stand)


@pytest.mark.parametrize("mode", [0o777, 0o1777, 0o770, 0o722])
async def test_a_folder_in_which_others_can_write_is_refused_and_left_as_it_is(stand: Stand, mode: int) -> None:
    stand.folder.mkdir()
    stand.folder.chmod(mode)
    assert f"others can write to this folder (mode {mode:o})" in await refusal(stand)
    assert stat.S_IMODE(stand.folder.stat().st_mode) == mode
    assert list(stand.folder.iterdir()) == []


@as_root
@pytest.mark.parametrize("name", ["", *NAMES])
async def test_a_file_of_another_user_is_refused_and_left_as_it_is(stand: Stand, name: str) -> None:
    stand.folder.mkdir()
    path = stand.folder / name
    if name:
        make(path, name, b"as it was")
    os.chown(path, NOBODY, NOBODY)
    before = path.stat()
    found = await refusal(stand)
    assert f"it belongs to user {NOBODY}, and this SL node runs as user 0: remove it" in found
    assert str(path) in found
    assert path.stat() == before


@pytest.mark.parametrize("name", NAMES)
async def test_a_hard_link_is_refused_and_its_other_file_is_left_as_it_is(
    stand: Stand, tmp_path: Path, name: str
) -> None:
    stand.folder.mkdir()
    victim = tmp_path / "victim"
    make(victim, name, b"secret")
    victim.chmod(0o644)
    os.link(victim, stand.folder / name)
    before = victim.stat()
    assert f"{name}: cannot create " in (found := await refusal(stand))
    assert "it has 2 names (hard links), and must have one: remove it" in found
    assert victim.stat() == before


@pytest.mark.parametrize("name", NAMES)
async def test_a_symbolic_link_is_refused_and_its_target_is_left_as_it_is(
    stand: Stand, tmp_path: Path, name: str
) -> None:
    stand.folder.mkdir()
    victim = tmp_path / "victim"
    make(victim, name, b"secret")
    before = victim.stat()
    (stand.folder / name).symlink_to(victim)
    assert "a symbolic link, which is not followed" in (found := await refusal(stand))
    assert name in found
    assert victim.stat() == before


@as_root
async def test_a_pipe_that_was_made_for_no_group_is_not_opened_to_one_later(stand: Stand) -> None:
    stand.folder.mkdir()
    stand.folder.chmod(0o770)
    os.chown(stand.folder, 0, GROUP)
    (stand.folder / "trained_weights.pkl").touch(0o600)
    with pytest.raises(BridgeError, match=f"trained_weights.pkl: cannot create file: group {GROUP} cannot use it"):
        async with stand.bridge(stand.folder / "nobody", group=GROUP):
            pass
    assert stat.S_IMODE((stand.folder / "trained_weights.pkl").stat().st_mode) == 0o600


async def test_a_pipe_in_a_folder_where_anybody_can_replace_it_is_refused(stand: Stand, tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o777)
    stand.request = shared / "request"
    found = await refusal(stand)
    assert f"{shared}/request: cannot create pipe: other users can replace it" in found
    assert f"others can write to {shared} (mode 777)" in found
    shared.chmod(0o1777)  # as /tmp is
    async with stand.bridge(stand.folder / "nobody"):
        assert stat.S_IMODE(stand.request.stat().st_mode) == 0o600


async def test_a_file_that_was_replaced_by_a_hard_link_after_the_start_is_not_read(
    stand: Stand, tmp_path: Path
) -> None:
    place = Place(stand.folder, Access())
    place.prepare()
    victim = tmp_path / "victim"
    victim.write_bytes(b"secret")
    for name in ("trained_weights.pkl", "merged_weights.pkl"):
        (stand.folder / name).unlink()
        os.link(victim, stand.folder / name)
    with pytest.raises(Unusable, match=r"hard links"):
        place.read("trained_weights.pkl")
    with pytest.raises(OSError, match=r"hard links"):
        place.rewrite()
    place.close()
    assert victim.read_bytes() == b"secret"
