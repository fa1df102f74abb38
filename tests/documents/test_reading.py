"""Typed readers: what they accept, and what they say otherwise."""

from collections.abc import Callable

import pytest

from swarmlearning.documents.faults import DocumentError
from swarmlearning.documents.reading import Value, read


def text(value: Value) -> str:
    return value.text(1, 10)


def lines(value: Value) -> str:
    return value.text(0, 30, lines=True)


def integer(value: Value) -> int:
    return value.integer(-5, 100)


def number(value: Value) -> float:
    return value.number(0, 1000)


def choice(value: Value) -> str:
    return value.choice(("BIND", "VOLUME"))


def words(value: Value) -> list[str]:
    return [item.text() for item in value.items(1, 3)]


def fields(value: Value) -> list[object]:
    found = value.fields(("name", "size"), ("note",), {"sz": "size"})
    return [found["name"].text(), found["size"].integer(0, 9), found["note"].optional(Value.text), sorted(found)]


@pytest.mark.parametrize(
    ("reader", "document", "expected"),
    [
        (text, "010", "010"),
        (text, "False", "False"),
        (text, "12:30:45", "12:30:45"),
        (text, "'null'", "null"),
        (text, "x" * 10, "x" * 10),
        (text, "|\n one\n", "one"),
        (text, '"a\\tb"', "a\tb"),
        (lines, '"one\\ntwo"', "one\ntwo"),
        (lines, "''", ""),
        (integer, "100", 100),
        (integer, "-5", -5),
        (integer, "010", 10),
        (integer, "'7'", 7),
        (integer, "+1_0", 10),
        (number, "1.5", 1.5),
        (number, "1e2", 100.0),
        (number, ".5", 0.5),
        (number, "7", 7.0),
        (Value.boolean, "true", True),
        (Value.boolean, "On", True),
        (Value.boolean, "YES", True),
        (Value.boolean, "'no'", False),
        (Value.boolean, "off", False),
        (choice, "BIND", "BIND"),
        (choice, "volume", "VOLUME"),
        (words, "[a, 1, on]", ["a", "1", "on"]),
        (fields, "{size: 1, name: a}", ["a", 1, None, ["name", "size"]]),
        (fields, "{sz: 1, name: a, note: null}", ["a", 1, None, ["name", "note", "size"]]),
        (Value.entries, "{}", []),
    ],
)
def test_a_value_is_read(reader: Callable[[Value], object], document: str, expected: object) -> None:
    assert read(document.encode(), "file", reader) == expected


@pytest.mark.parametrize(
    ("reader", "document", "message"),
    [
        (text, "null", "file:1:1: expected text, found null"),
        (text, "[a]", "file:1:1: expected text, found a list"),
        (text, "[]", "file:1:1: expected text, found an empty list"),
        (text, "''", "file:1:1: expected text of 1 to 10 characters, found 0"),
        (text, "x" * 11, "file:1:1: expected text of 1 to 10 characters, found 11"),
        (text, '"a\\nb"', "file:1:1: expected text of a single line, found several lines"),
        (text, '"a\\0"', "file:1:1: the text has the invisible character U+0000; remove it"),
        (text, '"a\\u200b"', "file:1:1: the text has the invisible character U+200B; remove it"),
        (text, '"\\ud800"', "file:1:1: the text has the invisible character U+D800; remove it"),
        (lines, '"a\\r\\nb"', "file:1:1: the text has the invisible character U+000D; remove it"),
        (integer, "101", "file:1:1: expected a whole number from -5 to 100, found '101'"),
        (integer, "1.0", "file:1:1: expected a whole number from -5 to 100, found '1.0'"),
        (integer, "0x10", "file:1:1: expected a whole number from -5 to 100, found '0x10'"),
        (integer, "９", "file:1:1: expected a whole number from -5 to 100, found '９'"),
        (integer, "9" * 4000, f"file:1:1: expected a whole number from -5 to 100, found '{'9' * 37}...'"),
        (integer, "null", "file:1:1: expected a whole number from -5 to 100, found null"),
        (number, ".nan", "file:1:1: expected a number from 0 to 1000, found '.nan'"),
        (number, "1e99", "file:1:1: expected a number from 0 to 1000, found '1e99'"),
        (Value.boolean, "1", "file:1:1: expected true or false, found '1'"),
        (Value.boolean, "{}", "file:1:1: expected true or false, found an empty mapping"),
        (choice, "BINDS", "file:1:1: expected BIND or VOLUME, found 'BINDS'; did you mean BIND?"),
        (choice, "x", "file:1:1: expected BIND or VOLUME, found 'x'"),
        (words, "a", "file:1:1: expected a list, found 'a'"),
        (words, "[]", "file:1:1: expected a list of 1 to 3 items, found 0"),
        (words, "[a, b, c, d]", "file:1:1: expected a list of 1 to 3 items, found 4"),
        (words, "[a, [b]]", "file:1:5: [1]: expected text, found a list"),
        (fields, "a", "file:1:1: expected a mapping with name, size, found 'a'"),
        (fields, "{name: a}", "file:1:1: size: the key is missing"),
        (fields, "{name: a, size: 1, sz: 2}", "file:1:20: sz: size is already there in another spelling"),
        (fields, "{name: a, sise: 1}", "file:1:11: sise: unknown key; did you mean size?"),
        (fields, "{name: a, size: 1, xyz: 2}", "file:1:20: xyz: unknown key; known keys are name, size, note"),
        (fields, "{name: a, size: x}", "file:1:17: size: expected a whole number from 0 to 9, found 'x'"),
        (
            fields,
            '{name: a, size: 1, "\\e[0m": 2}',
            "file:1:20: '\\x1b[0m': unknown key; known keys are name, size",
        ),
        (Value.entries, "[]", "file:1:1: expected a mapping, found an empty list"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(reader: Callable[[Value], object], document: str, message: str) -> None:
    with pytest.raises(DocumentError) as caught:
        read(document.encode(), "file", reader)
    assert str(caught.value).startswith(message)
    assert len(caught.value.faults) == 1


def test_all_faults_of_a_file_are_said_in_its_order() -> None:
    with pytest.raises(DocumentError) as caught:
        read(b"note: []\nsize: x\nsize: 1\nother: 2", "a/file.yaml", fields)
    assert str(caught.value).splitlines() == [
        "a/file.yaml:1:1: name: the key is missing",
        "a/file.yaml:1:7: note: expected text, found an empty list",
        "a/file.yaml:2:7: size: expected a whole number from 0 to 9, found 'x'",
        "a/file.yaml:3:1: size: duplicate key, already in line 2",
        "a/file.yaml:4:1: other: unknown key; did you mean note?",
    ]


def test_of_many_faults_ten_are_said_and_the_others_counted() -> None:
    with pytest.raises(DocumentError) as caught:
        read(b"[[]" + b", []" * 14 + b"]", "file", lambda value: [item.text() for item in value.items()])
    assert len(caught.value.faults) == 15
    assert str(caught.value).splitlines()[10:] == ["file: and 5 more"]


def test_a_files_name_cannot_style_the_terminal() -> None:
    with pytest.raises(DocumentError, match=r"^a\?\[31m\?b:1:1: "):
        read(b"", "a\x1b[31m\nb", text)
