"""Telling whoever started a node that it is ready."""

import os

from swarmlearning.node.ready import Ready


def test_one_line_and_the_end_of_the_stream() -> None:
    reader, writer = os.pipe()
    Ready(writer).tell({"uid": "a"})
    with os.fdopen(reader, "rb") as told:
        assert told.read() == b'{"uid":"a"}\n'


def test_nobody_is_there_any_more() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    Ready(writer).tell({"uid": "a"})
