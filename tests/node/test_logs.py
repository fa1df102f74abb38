"""Log lines stay lines, whatever is in them."""

import json
import logging

import pytest

from swarmlearning.node import logs
from swarmlearning.node.logs import FORMAT, JsonFormatter, LineFormatter, in_text, now_in
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


def said(
    formatter: logging.Formatter, *, extra: dict[str, object] | None = None, error: Exception | None = None
) -> str:
    record = logging.LogRecord("swarm.SL", logging.WARNING, "", 0, "refused: %s", ("no\n2026 : \u202e\udcff",), None)
    record.created, record.msecs = 1_700_000_000.25, 250.0
    record.__dict__.update(extra or {})
    record.exc_info = (type(error), error, error.__traceback__) if error else None
    return formatter.format(record)


def test_a_line_in_json_has_the_node_and_what_it_works_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "_now", {})
    formatter = JsonFormatter("site-1")
    base = {
        "time": "2023-11-14T22:13:20.250Z",
        "level": "WARNING",
        "logger": "swarm.SL",
        "node": "site-1",
        "message": "refused: no\n2026 : \u202e\udcff",
    }
    assert json.loads(said(formatter)) == base
    now_in("mnist", 12)
    assert json.loads(said(formatter)) == base | {"contract": "mnist", "round": 12}
    assert json.loads(said(formatter, extra={"contract": "other"})) == base | {"contract": "other", "round": 12}
    now_in("mnist", None)
    assert json.loads(said(formatter)) == base | {"contract": "mnist"}
    assert in_text(said(formatter)) == (
        "2023-11-14 22:13:20,250Z : swarm.SL : WARNING : refused: no\\n2026 : \\u202e\\udcff"
    )
    assert [in_text(line) for line in ("a line", '{"time": 5}', "{")] == ["a line", '{"time": 5}', "{"]
    line = said(formatter, error=ValueError("of ours"))
    assert json.loads(line)["trace"] == "ValueError: of ours"
    assert line.isascii()
    assert "\n" not in line
