"""Event files: their bytes, read by TensorFlow's own reader too."""

import errno
from pathlib import Path

import pytest

from support.tools import require
from swarmlearning.tracking.tensorboard import EventFile, event, record
from swarmlearning.tracking.tracker import Point, TrackerError

POINTS = [
    Point("site/loss", 0, 0.5, 1_700_000_000_000),
    Point("swarm/metric", 300, -1e300, 1_700_000_000_500),
    Point("swarm/metric", 2**40, float("nan"), 1_700_000_001_000),
]


def test_a_record_has_the_checksums_of_its_length_and_its_data() -> None:
    # Made with TensorFlow 2.21's `tf.io.TFRecordWriter`.
    assert record(b"swarm").hex() == "0500000000000000eab2043e737761726db7baba72"


def test_an_event_has_time_step_tag_and_value_in_protobuf_s_encoding() -> None:
    assert event(Point("a", 300, 1.0, 1_500)).hex() == "09000000000000f83f10ac022a0a0a080a0161150000803f"


async def test_points_are_appended_and_come_back_by_tensorflow_s_reader(tmp_path: Path) -> None:
    require("keras")
    from tensorflow.compat.v1 import train

    writer = EventFile(tmp_path / "run")
    await writer.add(POINTS[:1])
    await writer.add(POINTS[1:])
    await writer.close(complete=True)
    (path,) = (tmp_path / "run").iterdir()
    first, *events = train.summary_iterator(str(path))
    assert first.file_version == "brain.Event:2"
    found = [(one.summary.value[0].tag, one.step, one.summary.value[0].simple_value, one.wall_time) for one in events]
    assert found[0] == ("site/loss", 0, 0.5, 1_700_000_000.0)
    assert found[1] == ("swarm/metric", 300, float("-inf"), 1_700_000_000.5)
    assert found[2][:2] == ("swarm/metric", 2**40)
    assert found[2][2] != found[2][2]


async def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("a file")
    with pytest.raises(TrackerError, match=r"cannot be written to .*run"):
        await EventFile(tmp_path / "run").add(POINTS)


async def test_a_full_disk_leaves_whole_records_only(tmp_path: Path) -> None:
    writer = EventFile(tmp_path / "run")
    await writer.add(POINTS[:1])
    (path,) = (tmp_path / "run").iterdir()
    before = path.read_bytes()
    full = Path("/dev/full")
    writer._path = full
    with pytest.raises(TrackerError, match=str(OSError(errno.ENOSPC, "No space left on device").strerror)):
        await writer.add(POINTS)
    assert path.read_bytes() == before
