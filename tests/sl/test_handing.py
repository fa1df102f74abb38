"""The folder between an SL and an ML process of another user."""

import os
import stat
from pathlib import Path

import pytest

from swarmlearning.sl.handing import copy_handed, is_foreign, link_readable, prepare_folder

GROUP = os.getegid()


def test_a_folder_that_is_shared_lets_each_user_remove_their_own_files_only(tmp_path: Path) -> None:
    prepare_folder(tmp_path / "a" / "shared", GROUP)
    prepare_folder(tmp_path / "a" / "shared", GROUP)  # as after a restart
    assert stat.S_IMODE((tmp_path / "a" / "shared").stat().st_mode) == 0o3770


def test_a_folder_that_is_not_shared_is_its_owner_s(tmp_path: Path) -> None:
    prepare_folder(tmp_path / "own", None)
    assert stat.S_IMODE((tmp_path / "own").stat().st_mode) == 0o700


@pytest.mark.parametrize("mode", [0o700, 0o777, 0o2770, 0o1777])
def test_a_folder_of_other_permissions_is_refused_with_what_it_needs(tmp_path: Path, mode: int) -> None:
    folder = tmp_path / "made"
    folder.mkdir()
    folder.chmod(mode)
    with pytest.raises(OSError, match=f"owner {os.geteuid()}, group {GROUP} and mode 3770"):
        prepare_folder(folder, GROUP)


def test_a_folder_of_another_user_is_refused_roots_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    prepare_folder(tmp_path / "made", GROUP)
    owner = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: owner + 1)
    with pytest.raises(OSError, match=f"it has owner {owner}, .* it needs owner {owner + 1}, group {GROUP}"):
        prepare_folder(tmp_path / "made", GROUP)


def test_a_file_is_copied_over_old_bytes_and_removed(tmp_path: Path) -> None:
    (tmp_path / "handed").write_bytes(b"model")
    (tmp_path / "copy").write_bytes(b"old, and longer")
    copy_handed(tmp_path / "handed", tmp_path / "copy", 5)
    assert (tmp_path / "copy").read_bytes() == b"model"
    assert not (tmp_path / "handed").exists()


@pytest.mark.parametrize("kind", ["link", "pipe", "folder", "longer", "missing"])
def test_nothing_but_a_file_of_that_size_is_copied(tmp_path: Path, kind: str) -> None:
    handed = tmp_path / "handed"
    (tmp_path / "secret").write_bytes(b"key")
    match kind:
        case "link":
            handed.symlink_to(tmp_path / "secret")
        case "pipe":
            os.mkfifo(handed)
        case "folder":
            handed.mkdir()
        case "longer":
            handed.write_bytes(b"123456")
    (tmp_path / "copy").touch()
    with pytest.raises(OSError, match=r"symbolic|regular|directory"):
        copy_handed(handed, tmp_path / "copy", 5)
    assert (tmp_path / "copy").read_bytes() == b""


def test_the_group_may_read_what_it_is_given_and_not_write_it(tmp_path: Path) -> None:
    (tmp_path / "model").touch(0o600)
    link_readable(tmp_path / "model", tmp_path / "given", GROUP)
    found = (tmp_path / "given").stat()
    assert (stat.S_IMODE(found.st_mode), found.st_gid, found.st_nlink) == (0o640, GROUP, 2)


@pytest.mark.skipif(os.geteuid() != 0, reason="giving a file away needs root: run the tests as root")
def test_a_file_of_another_user_is_foreign(tmp_path: Path) -> None:
    (tmp_path / "handed").touch()
    assert not is_foreign(tmp_path / "handed")
    os.chown(tmp_path / "handed", 1000, 1000)
    assert is_foreign(tmp_path / "handed")
