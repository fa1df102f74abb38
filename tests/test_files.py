"""Files are replaced as a whole, and private folders are their owner's only."""

import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from swarmlearning.files import make_private, replace_file


def test_writers_that_replace_the_same_file_at_once_do_not_disturb_each_other(tmp_path: Path) -> None:
    path, contents = tmp_path / "file", [bytes([letter]) * 1_000_000 for letter in b"abcd"]

    def write(data: bytes) -> None:
        for _ in range(20):
            replace_file(path, data)
            assert path.read_bytes() in contents

    with ThreadPoolExecutor(len(contents)) as threads:
        for done in [threads.submit(write, data) for data in contents]:
            done.result()
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_that_cannot_be_replaced_stays_as_it_was_and_nothing_is_left_beside_it(tmp_path: Path) -> None:
    (tmp_path / "folder" / "below").mkdir(parents=True)
    with pytest.raises(OSError, match="directory"):
        replace_file(tmp_path / "folder", b"content")
    assert list(tmp_path.iterdir()) == [tmp_path / "folder"]


@pytest.mark.parametrize("mode", [0o600, 0o644])
def test_a_file_that_is_replaced_has_the_permissions_that_were_requested(tmp_path: Path, mode: int) -> None:
    replace_file(tmp_path / "file", b"content", mode)
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == mode


def test_a_private_folder_and_the_missing_ones_above_it_are_their_owner_s_only(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    folder = tmp_path / "above" / "private"
    for _ in range(2):
        make_private(folder)
    assert [stat.S_IMODE(each.stat().st_mode) for each in (folder, folder.parent, tmp_path)] == [0o700, 0o700, 0o755]
