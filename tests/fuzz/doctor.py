"""What a node answers a doctor, the structure of a model in it, and the head of what answers somewhere."""

import msgspec

from fuzz.target import Target
from swarmlearning.node.checkup import Answer, Site, read_answer
from swarmlearning.node.outcomes import Outcome
from swarmlearning.node.probing import status_of
from swarmlearning.tensors.structure import Structure, structure_text

_STRUCTURE = structure_text([("layer.weight", "F32", (16, 8)), ("steps", "I64", ())], {"steps": "buffer"})
_ANSWER = Answer(
    "0.1.0",
    1_700_000_000_000,
    [Outcome("a", "fs", "ok", 0.5, 1e6), Outcome("b", "api", "silent")],
    Site("contract", "stopped", "missing", "no answer", _STRUCTURE),
)


def _read_structure(data: bytes) -> None:
    Structure.parse(data.decode("latin-1"))


TARGETS = (
    Target("checkup", read_answer, (), (msgspec.json.encode(_ANSWER), b"[" * 10_000)),
    Target("structure-of-checkup", _read_structure, (ValueError,), (_STRUCTURE.encode(),)),
    Target(
        "probed-head", status_of, (), (b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello", b"220 mail.example ESMTP")
    ),
)
