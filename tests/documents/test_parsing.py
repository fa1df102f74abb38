"""Bytes that are no document that can be used, and those that are in spite of their looks."""

import pytest

from swarmlearning.documents.faults import DocumentError, Faults
from swarmlearning.documents.nodes import Mapping, Node, Scalar, Sequence
from swarmlearning.documents.parsing import BYTES, NODES, parse


def plain(node: Node) -> object:
    """The document as nested lists and pairs, without places."""
    if isinstance(node, Scalar):
        return node.text
    if isinstance(node, Sequence):
        return [plain(item) for item in node.items]
    return {key.text: plain(value) for key, value in node.entries}


def parsed(text: str) -> object:
    faults = Faults()
    node = parse(text.encode(), "file", faults)
    faults.raise_any("file")
    return plain(node)


def laughing(levels: int) -> str:
    """Aliases of aliases, each level nine times the one before."""
    first = "- &a0 [x, x, x, x, x, x, x, x, x]\n"
    return first + "".join(f"- &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, levels))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "1:1: the file is empty"),
        (b"# only a comment\n", "1:1: the file is empty"),
        (b"x" * 10_000_000, "1:1: the file has 10,000,000 bytes; at most 300,000 are read"),
        (bytes(range(256)), "2:118: the file is not UTF-8 text"),
        (b"a: b\nc: \xff", "2:4: the file is not UTF-8 text"),
        ("a: b".encode("utf-16"), "1:1: the file is not UTF-8 text"),
        (b"a: \x00", "1:4: the character U+0000"),
        (b"a: b\n\nc: \x1b[0m", "3:4: the character U+001B"),
        ("é: ￿".encode(), "1:4: the character U+FFFF"),
        (b"a:\n\t- b", "2:1: the line is indented by a tab"),
        (b"a:\n  - b\n \t - c", "3:2: the line is indented by a tab"),
        (b"a: b\n---\nc: d", "2:1: a second document begins here"),
        (b"a: [b", "1:6: not valid YAML: expected ',' or ']'"),
        (b"a: 'b", "1:6: not valid YAML: found unexpected end of stream while scanning a quoted scalar"),
        (b"a: b: c", "1:5: not valid YAML: mapping values are not allowed here"),
        (b"a: @b", "1:4: not valid YAML: found character '@'"),
        (b"%YAML 3.0\n---\na", "1:1: not valid YAML: found incompatible YAML document"),
        (b'a: "\\UFFFFFFFF"', "1:1: not valid YAML: an escape sequence or number here is out of range"),
        (b"%YAML 1." + b"9" * 5000 + b"\n---\na", "1:1: not valid YAML: an escape sequence or number here"),
        (b"a: *b", "1:4: a: there is no anchor &b before this alias"),
        (b"a: &b [c, *b]", "1:11: a[1]: the alias *b is used inside its own anchor"),
        (b"a: &b {c: {d: *b}}", "1:15: a.c.d: the alias *b is used inside its own anchor"),
        (b"&a {*a : b}", "1:5: the alias *a is used inside its own anchor"),
        (b"a: !!python/object/apply:os.system [ls]", "1:4: a: the tag 'tag:yaml.org,2002:python/object/apply:os.s"),
        (b"a: !!binary aGk=", "1:4: a: the tag 'tag:yaml.org,2002:binary' is not supported"),
        (b"a: !local b", "1:4: a: the tag '!local' is not supported"),
        (b"? [a]\n: b", "1:3: a list or mapping is used as a key"),
        (b"a: {{b}}", "1:5: a: a list or mapping is used as a key"),
        (b"a: 1\nb: 2\na: 3", "3:1: a: duplicate key, already in line 1"),
        (b"a: {b: 1, 'b': 2}", "1:11: a.b: duplicate key, already in line 1"),
        (b"a: {<<: b}", "1:5: a.<<: the merge key << takes a mapping or a list of mappings"),
        (b"[" * 1000, "1:21: [0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0]: nested more than 20"),
        (b"a: [" + b"b," * NODES + b"]", "the file has more than 10,000 values"),
        (laughing(9).encode(), "5:8: [4][0]: the file has more than 10,000 values, repeated ones included"),
    ],
)
def test_what_cannot_be_used_is_refused_with_its_place(data: bytes, message: str) -> None:
    with pytest.raises(DocumentError) as caught:
        parsed_bytes(data)
    assert message in str(caught.value)
    assert str(caught.value).startswith("file:")


def parsed_bytes(data: bytes) -> object:
    faults = Faults()
    node = parse(data, "file", faults)
    faults.raise_any("file")
    return plain(node)


@pytest.mark.parametrize("piece", [b"%a\n", b"- ", b"{a: ", b"&a "])
def test_a_large_hostile_file_is_refused_within_the_tests_time(piece: bytes) -> None:
    with pytest.raises(DocumentError):
        parsed_bytes(piece * (BYTES // len(piece)))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("\ufeffa: b", {"a": "b"}),
        ("a: b\r\nc: d\r\n", {"a": "b", "c": "d"}),
        ("---\na: b\n...\n", {"a": "b"}),
        (
            "a: 010\nb: 12:30:45\nc: on\nd: 0x1F\ne: 1_000\nf: ~\ng: 2026-01-01",
            dict(zip("abcdefg", ["010", "12:30:45", "on", "0x1F", "1_000", "~", "2026-01-01"], strict=True)),
        ),
        ("on: yes", {"on": "yes"}),
        ("[A : B, C: D]", [{"A": "B"}, {"C": "D"}]),
        ("a: &x {b: c}\nd: *x\ne: [*x, *x]", {"a": {"b": "c"}, "d": {"b": "c"}, "e": [{"b": "c"}, {"b": "c"}]}),
        ("a: &x {b: 1, c: 2}\nd: {<<: *x, c: 3}", {"a": {"b": "1", "c": "2"}, "d": {"c": "3", "b": "1"}}),
        (
            "x: &x {b: 1}\ny: &y {b: 2, c: 3}\nd: {<<: [*x, *y]}",
            {"x": {"b": "1"}, "y": {"b": "2", "c": "3"}, "d": {"b": "1", "c": "3"}},
        ),
        ("a: &x 1\nb: &x 2\nc: *x", {"a": "1", "b": "2", "c": "2"}),
        ("a: !!str 1\nb: !!int '2'", {"a": "1", "b": "2"}),
        ("a: |\n  one\n  two\nb: >\n  three\n  four\n", {"a": "one\ntwo\n", "b": "three four\n"}),
        ('a: "é\\u00e9\\\n  b"', {"a": "ééb"}),
        ("a: b\n\n\n", {"a": "b"}),
        ("'a b': c # comment", {"a b": "c"}),
        ("text", "text"),
    ],
)
def test_what_yaml_allows_is_read_as_it_is_written(text: str, expected: object) -> None:
    assert parsed(text) == expected


def test_places_are_those_of_the_file() -> None:
    root = parse("é: b\n\nlist:\n  - {k: v}\n".encode(), "file", Faults())
    assert isinstance(root, Mapping)
    (_, first), (key, items) = root.entries
    assert (first.mark, key.mark, items.mark) == ((1, 4), (3, 1), (4, 3))


def test_a_null_is_plain_and_a_quoted_one_is_text() -> None:
    root = parse(b"[null, '', ~, 'null', !!str null, !!null 'x']", "file", Faults())
    assert isinstance(root, Sequence)
    assert [isinstance(item, Scalar) and item.plain for item in root.items] == [True, False, True, False, False, True]
