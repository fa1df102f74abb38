"""Bytes of a YAML file to nodes, within limits.

PyYAML reads the syntax only (its events): tags, anchors, duplicate keys and sizes are judged here, while the file is
read, so that a hostile one costs a second at most. It is PyYAML's own parser, never libyaml, which is faster but reads
some files differently: all sites have to read the same from a task.
"""

import re
from collections.abc import Iterator
from typing import Protocol

import yaml

from swarmlearning.documents.faults import DocumentError, Fault, Faults
from swarmlearning.documents.nodes import Mapping, Mark, Node, Scalar, Sequence, item_field, key_field

BYTES = 300_000
NODES = 10_000
DEPTH = 20

_UNPRINTABLE = re.compile(r"[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_INDENTED_BY_TAB = re.compile(r"[ ]*\t")
_PLAIN_TAGS = frozenset(f"tag:yaml.org,2002:{name}" for name in ("int", "float", "bool", "null", "timestamp"))
_OTHER_TAGS = frozenset((None, "!", *(f"tag:yaml.org,2002:{name}" for name in ("str", "seq", "map"))))


def parse(data: bytes, name: str, faults: Faults) -> Node:
    """Returns the document's root; `name` is the file's, for messages. Duplicate keys are added to `faults`.

    Raises `DocumentError` for what is not one YAML document in UTF-8 within the limits.
    """
    text = _text(data, name)
    composer = _Composer(name, yaml.parse(text, Loader=yaml.SafeLoader), faults)
    try:
        return composer.document()
    except yaml.MarkedYAMLError as error:
        raise _fatal(name, _place(error.problem_mark or error.context_mark), _syntax(error, text)) from None
    except (yaml.YAMLError, ValueError, OverflowError):  # such as "\\UFFFFFFFF", which PyYAML does not expect
        raise _fatal(
            name, composer.reached, "not valid YAML: an escape sequence or number here is out of range"
        ) from None


def _text(data: bytes, name: str) -> str:
    if len(data) > BYTES:
        raise _fatal(name, Mark(1, 1), f"the file has {len(data):,} bytes; at most {BYTES:,} are read")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        place = _mark_at(data[: error.start].decode("utf-8", "replace"))
        raise _fatal(name, place, "the file is not UTF-8 text; save it in this encoding") from None
    if found := _UNPRINTABLE.search(text):
        what = f"the character U+{ord(found[0]):04X}, which YAML does not allow; remove it"
        raise _fatal(name, _mark_at(text[: found.start()]), what)
    return text


def _mark_at(before: str) -> Mark:
    return Mark(before.count("\n") + 1, len(before) - (before.rfind("\n") + 1) + 1)


class _Position(Protocol):
    """A mark of PyYAML; both numbers begin with 0."""

    line: int
    column: int


def _place(mark: _Position | None) -> Mark:
    return Mark(1, 1) if mark is None else Mark(mark.line + 1, mark.column + 1)


def _syntax(error: yaml.MarkedYAMLError, text: str) -> str:
    place, begun = error.problem_mark or error.context_mark, error.context_mark
    lines = text.splitlines()
    if place is not None and place.line < len(lines) and _INDENTED_BY_TAB.match(lines[place.line]):
        return "the line is indented by a tab; YAML is indented by spaces only"
    context = f" {error.context}, which begins in line {begun.line + 1}" if error.context and begun else ""
    return f"not valid YAML: {error.problem}{context}"


def _fatal(name: str, mark: Mark, message: str) -> DocumentError:
    return DocumentError(name, (Fault(mark, "", message),))


class _Composer:
    """Builds the tree from the parser's events; `field` is the path at which a node stands."""

    def __init__(self, name: str, events: Iterator[yaml.Event], faults: Faults) -> None:
        self._name = name
        self._events = events
        self._faults = faults
        self._anchors: dict[str, Node | None] = {}  # None while the node is being built
        self._nodes = 0
        self.reached = Mark(1, 1)
        """The place of the last node."""

    def document(self) -> Node:
        next(self._events)  # start of the stream
        if isinstance(next(self._events), yaml.StreamEndEvent):
            raise _fatal(self._name, Mark(1, 1), "the file is empty")
        root = self._node(next(self._events), 1, "")
        next(self._events)  # end of the document
        if not isinstance(following := next(self._events), yaml.StreamEndEvent):
            raise self._error(following, "", "a second document begins here; a file may have only one")
        return root

    def _node(self, event: yaml.Event, depth: int, field: str) -> Node:
        if isinstance(event, yaml.AliasEvent):
            node = self._aliased(event, field)
            self._count(event, node.weight, field)
            return node
        self.reached = _place(event.start_mark)
        if depth > DEPTH:
            raise self._error(event, field, f"nested more than {DEPTH} levels deep")
        self._require_tag(event, field)
        self._count(event, 1, field)
        anchor = getattr(event, "anchor", None)
        if anchor is not None:
            self._anchors[anchor] = None
        node = self._built(event, depth, field)
        if anchor is not None:
            self._anchors[anchor] = node
        return node

    def _built(self, event: yaml.Event, depth: int, field: str) -> Node:
        mark = _place(event.start_mark)
        if isinstance(event, yaml.ScalarEvent):
            plain = (event.style in (None, "") and event.tag is None) or event.tag in _PLAIN_TAGS
            return Scalar(mark, event.value, plain)
        before = self._nodes - 1
        if isinstance(event, yaml.SequenceStartEvent):
            items: list[Node] = []
            while not isinstance(inner := next(self._events), yaml.SequenceEndEvent):
                items.append(self._node(inner, depth + 1, item_field(field, len(items))))
            return Sequence(mark, tuple(items), self._nodes - before)
        entries: list[tuple[Scalar, Node]] = []
        while not isinstance(inner := next(self._events), yaml.MappingEndEvent):
            key = self._key(inner, depth, field)
            entries.append((key, self._node(next(self._events), depth + 1, key_field(field, key.text))))
        return Mapping(mark, self._distinct(entries, field), self._nodes - before)

    def _key(self, event: yaml.Event, depth: int, field: str) -> Scalar:
        key = self._node(event, depth + 1, field)
        if not isinstance(key, Scalar):
            raise self._error(event, field, "a list or mapping is used as a key; quote texts that contain braces")
        return key

    def _distinct(self, entries: list[tuple[Scalar, Node]], field: str) -> tuple[tuple[Scalar, Node], ...]:
        first: dict[str, tuple[Scalar, Node]] = {}
        merged: list[tuple[Scalar, Node]] = []
        for key, value in entries:
            if key.plain and key.text == "<<":
                merged += self._merged(key, value, field)
            elif (earlier := first.setdefault(key.text, (key, value))[0]) is not key:
                message = f"duplicate key, already in line {earlier.mark.line}"
                self._faults.add(key.mark, key_field(field, key.text), message)
        for key, value in merged:
            first.setdefault(key.text, (key, value))
        return tuple(first.values())

    def _merged(self, key: Scalar, value: Node, field: str) -> list[tuple[Scalar, Node]]:
        """The entries that YAML 1.1's merge key `<<` brings in; those of the mapping itself come first."""
        sources = value.items if isinstance(value, Sequence) else (value,)
        if not all(isinstance(source, Mapping) for source in sources):
            self._faults.add(
                key.mark, key_field(field, key.text), "the merge key << takes a mapping or a list of mappings"
            )
        return [entry for source in sources if isinstance(source, Mapping) for entry in source.entries]

    def _aliased(self, event: yaml.AliasEvent, field: str) -> Node:
        if event.anchor not in self._anchors:
            raise self._error(event, field, f"there is no anchor &{event.anchor} before this alias")
        node = self._anchors[event.anchor]
        if node is None:
            raise self._error(event, field, f"the alias *{event.anchor} is used inside its own anchor")
        return node

    def _count(self, event: yaml.Event, weight: int, field: str) -> None:
        self._nodes += weight
        if self._nodes > NODES:
            raise self._error(event, field, f"the file has more than {NODES:,} values, repeated ones included")

    def _require_tag(self, event: yaml.Event, field: str) -> None:
        tag = getattr(event, "tag", None)
        if tag not in _OTHER_TAGS and tag not in _PLAIN_TAGS:
            raise self._error(event, field, f"the tag {str(tag)[:60]!r} is not supported; remove it")

    def _error(self, event: yaml.Event, field: str, message: str) -> DocumentError:
        return DocumentError(self._name, (Fault(_place(event.start_mark), field, message),))
