"""Log lines stay lines, whatever is in them."""

import logging

import pytest

from swarmlearning.node.logs import FORMAT, LineFormatter
from swarmlearning.views.names import escaped


@pytest.mark.parametrize(
    ("text", "safe"),
    [
        ("plain, größer, 模型", "plain, größer, 模型"),
        ("a\nb\rc", "a\\nb\\rc"),
        ("\x1b[31mred\x07", "\\x1b[31mred\\x07"),
        ("\u202eabc\u2066", "\\u202eabc\\u2066"),
        ("\x85next\u2028line", "\\x85next\\u2028line"),
        ("\udcff", "\\udcff"),
    ],
)
def test_control_and_direction_characters_in_a_log_are_escaped(text: str, safe: str) -> None:
    assert escaped(text) == safe


def test_a_log_record_is_one_line_and_only_its_own_traceback_has_more() -> None:
    record = logging.LogRecord("swarm.SL", logging.INFO, "", 0, "refused: %s", ("no\n2026 : swarm.SL : forged",), None)
    assert LineFormatter(FORMAT).format(record).endswith("refused: no\\n2026 : swarm.SL : forged")
    try:
        raise ValueError("of ours")
    except ValueError as error:
        record.exc_info = (type(error), error, error.__traceback__)
    assert "\nTraceback" in LineFormatter(FORMAT).format(record)
