"""A node reports to whoever started it that it is ready."""

import json
import os

from swarmlearning.node.ready import Ready


def test_readiness_is_reported_as_one_line_and_the_end_of_the_stream() -> None:
    reader, writer = os.pipe()
    Ready(writer).report({"uid": "a"})
    with os.fdopen(reader, "rb") as report:
        assert report.read() == b'{"uid":"a"}\n'


def test_a_node_starts_although_the_reader_of_its_readiness_is_gone() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    Ready(writer).report({"uid": "a"})


def test_a_path_that_is_not_utf_8_arrives_unchanged_in_the_readiness_line() -> None:
    path = os.fsdecode(b"/caf\xe9/ml.sock")
    reader, writer = os.pipe()
    Ready(writer).report({"channel": path})
    with os.fdopen(reader, "rb") as report:
        assert json.loads(report.read()) == {"channel": path}
