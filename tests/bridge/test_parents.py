"""The way to the files and FIFOs that the SL and the original's client share: nobody else can replace a part of it."""

import os
import stat
import struct
from pathlib import Path

import pytest

from support.bridging import Stand
from swarmlearning.bridge.errors import BridgeError

NOBODY, GROUP = 65534, 65533
FILES = ["request.channel", "response.channel", "trained_weights.pkl", "merged_weights.pkl"]
ACCESS, DEFAULT = "system.posix_acl_access", "system.posix_acl_default"

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="files of other users can only be made by root")


def access_list() -> bytes:
    """An access control list by which the user `nobody` may do everything (acl(5), linux/posix_acl_xattr.h)."""
    nobody_else = 2**32 - 1
    entries = [(0x01, nobody_else), (0x02, NOBODY), (0x04, nobody_else), (0x10, nobody_else)]
    rights = b"".join(struct.pack("<HHI", tag, 7, uid) for tag, uid in entries)
    return struct.pack("<I", 2) + rights + struct.pack("<HHI", 0x20, 0, nobody_else)


def below(stand: Stand, folder: Path) -> Stand:
    """The same stand in a folder that lies deeper, whose parents exist."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    stand.folder = folder
    stand.request, stand.response = folder / "request.channel", folder / "response.channel"
    return stand


async def refusal(stand: Stand, group: int | None = None) -> str:
    with pytest.raises(BridgeError) as caught:
        async with stand.bridge(stand.folder / "nobody", group=group):
            pass
    return str(caught.value)


async def is_served(stand: Stand, group: int | None = None) -> bool:
    async with stand.bridge(stand.folder / "nobody", group=group):
        return all((stand.folder / name).exists() for name in FILES)


@pytest.mark.parametrize("above", [1, 2, 3])
@pytest.mark.parametrize("mode", [0o777, 0o707, 0o757])
async def test_a_folder_below_one_in_which_everybody_can_write_is_refused(
    stand: Stand, tmp_path: Path, above: int, mode: int
) -> None:
    below(stand, tmp_path / "a" / "b" / "c" / "hpe-swarm")
    weak = stand.folder.parents[above - 1]
    weak.chmod(mode)
    found = await refusal(stand)
    assert f"{stand.folder}: cannot create file: other users can replace it" in found
    assert f"others can write to {weak} (mode {mode:o})" in found
    assert not stand.folder.exists()


@pytest.mark.parametrize("above", [1, 2])
async def test_a_folder_below_one_with_the_sticky_bit_is_used(stand: Stand, tmp_path: Path, above: int) -> None:
    below(stand, tmp_path / "a" / "b" / "hpe-swarm")
    stand.folder.parents[above - 1].chmod(0o1777)
    assert await is_served(stand)


@as_root
@pytest.mark.parametrize("above", [1, 2])
async def test_a_folder_below_one_of_another_user_is_refused(stand: Stand, tmp_path: Path, above: int) -> None:
    below(stand, tmp_path / "a" / "b" / "hpe-swarm")
    foreign = stand.folder.parents[above - 1]
    os.chown(foreign, NOBODY, NOBODY)
    assert f"other users can replace it: {foreign} belongs to user {NOBODY}" in await refusal(stand)


@as_root
async def test_a_folder_below_one_in_which_another_group_can_write_is_refused(stand: Stand, tmp_path: Path) -> None:
    below(stand, tmp_path / "a" / "hpe-swarm")
    os.chown(tmp_path / "a", 0, GROUP)
    (tmp_path / "a").chmod(0o770)
    assert f"others can write to {tmp_path}/a (mode 770)" in await refusal(stand)
    assert f"others can write to {tmp_path}/a (mode 770)" in await refusal(stand, GROUP - 1)


@as_root
async def test_a_folder_below_one_in_which_the_bridge_s_group_can_write_is_used(stand: Stand, tmp_path: Path) -> None:
    below(stand, tmp_path / "a" / "hpe-swarm")
    os.chown(tmp_path / "a", 0, GROUP)
    (tmp_path / "a").chmod(0o770)
    assert await is_served(stand, GROUP)


@as_root
async def test_a_folder_below_one_in_which_the_users_own_group_can_write_is_used(stand: Stand, tmp_path: Path) -> None:
    below(stand, tmp_path / "a" / "hpe-swarm")
    (tmp_path / "a").chmod(0o770)
    assert await is_served(stand)


async def test_a_folder_behind_a_trusted_symbolic_link_is_used(stand: Stand, tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    below(stand, tmp_path / "link" / "hpe-swarm")
    assert await is_served(stand)


@as_root
async def test_a_folder_behind_a_symbolic_link_of_another_user_is_refused(stand: Stand, tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared").chmod(0o1777)
    link = tmp_path / "shared" / "link"
    link.symlink_to(tmp_path / "real")
    os.chown(link, NOBODY, NOBODY, follow_symlinks=False)
    below(stand, link / "hpe-swarm")
    assert f"other users can replace it: {link} belongs to user {NOBODY}" in await refusal(stand)


async def test_a_folder_behind_a_symbolic_link_into_a_folder_that_others_can_write_to_is_refused(
    stand: Stand, tmp_path: Path
) -> None:
    (tmp_path / "weak" / "real").mkdir(parents=True)
    (tmp_path / "weak").chmod(0o777)
    (tmp_path / "link").symlink_to(tmp_path / "weak" / "real")
    below(stand, tmp_path / "link" / "hpe-swarm")
    assert f"others can write to {tmp_path}/weak (mode 777)" in await refusal(stand)


async def test_a_symbolic_link_that_leads_to_itself_is_refused(stand: Stand, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("link")
    stand.folder = tmp_path / "link" / "hpe-swarm"
    assert f"{tmp_path}/link: cannot create file: a symbolic link, which is not followed" in await refusal(stand)


@as_root
@pytest.mark.parametrize("group", [None, GROUP])
async def test_a_folder_with_an_access_control_list_is_refused(stand: Stand, group: int | None) -> None:
    stand.folder.mkdir(mode=0o700)
    os.chown(stand.folder, 0, GROUP)
    stand.folder.chmod(0o770)
    os.setxattr(stand.folder, ACCESS, access_list())
    assert "it has an access control list" in await refusal(stand, group)
    assert os.getxattr(stand.folder, ACCESS) == access_list()


@as_root
async def test_a_folder_below_one_with_an_access_control_list_is_refused(stand: Stand, tmp_path: Path) -> None:
    below(stand, tmp_path / "a" / "hpe-swarm")
    os.setxattr(tmp_path / "a", ACCESS, access_list())
    assert f"others can write to {tmp_path}/a" in await refusal(stand)


@as_root
@pytest.mark.parametrize("group", [None, GROUP])
async def test_files_and_pipes_inherit_no_access_control_list(stand: Stand, group: int | None) -> None:
    stand.folder.mkdir(mode=0o700)
    if group is not None:
        os.chown(stand.folder, 0, group)
        stand.folder.chmod(0o770)
    os.setxattr(stand.folder, DEFAULT, access_list())
    async with stand.bridge(stand.folder / "nobody", group=group):
        for name in FILES:
            assert ACCESS not in os.listxattr(stand.folder / name)
            assert stat.S_IMODE((stand.folder / name).stat().st_mode) == (0o600 if group is None else 0o660)


async def test_a_bridge_that_cannot_make_its_second_pipe_leaves_no_first_one_behind(
    stand: Stand, tmp_path: Path
) -> None:
    stand.response = tmp_path / "missing" / "response.channel"
    assert f"{stand.response}: cannot create pipe: No such file or directory" in await refusal(stand)
    assert not stand.request.exists()


async def test_one_pipe_for_requests_and_responses_is_refused(stand: Stand) -> None:
    stand.response = stand.request
    assert "cannot create pipe: one pipe cannot be both" in await refusal(stand)
    assert not stand.request.exists()
