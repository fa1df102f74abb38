"""The base of all bodies, and the types of fields that several kinds of contracts share.

Times are Unix milliseconds, digests lower-case hex, certificates PEM (leaf first).
"""

import re
from typing import Annotated, Literal, TypeAlias

import msgspec

Digest: TypeAlias = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}\Z")]

Uid: TypeAlias = Annotated[str, msgspec.Meta(max_length=36, pattern=r"^[0-9a-z][0-9a-z-]*\Z")]
"""A node's UID, as the ledger refers to it. Registrations accept UUIDs only (`is_uuid`)."""

_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")

INVISIBLE = r"\x00-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\U000e0000-\U000e007f"
"""Control characters, line separators, and what changes the direction of text or hides in it."""

Name: TypeAlias = Annotated[str, msgspec.Meta(max_length=160, pattern=rf"^[^{INVISIBLE}]+\Z")]
Person: TypeAlias = Annotated[str, msgspec.Meta(min_length=1, max_length=100, pattern=rf"^[^{INVISIBLE}]+\Z")]
"""The name of a person, free text: what an operator's node states, and nobody else can check."""

Remark: TypeAlias = Annotated[str, msgspec.Meta(max_length=300, pattern=rf"^[^{INVISIBLE}]*\Z")]
"""A sentence for people, in one line."""

_NOT_IN_A_REMARK = re.compile(rf"[{INVISIBLE}\ud800-\udfff]")

Pem: TypeAlias = Annotated[str, msgspec.Meta(max_length=64 * 1024)]
Count: TypeAlias = Annotated[int, msgspec.Meta(ge=0, lt=2**53)]
Positive: TypeAlias = Annotated[int, msgspec.Meta(ge=1, lt=2**31)]


NodeType: TypeAlias = Literal["SN", "SL", "SWOP", "SWCI", "UI", "OPERATOR", "OBSERVER"]
"""The role of a certificate. A person acts for an organisation with SWCI, UI or OPERATOR; an OBSERVER only looks."""

OrganisationId: TypeAlias = Annotated[str, msgspec.Meta(max_length=40, pattern=r"^[a-z0-9][a-z0-9-]*\Z")]
"""An organisation's short name, such as `hospital-a`."""


def is_uuid(text: str) -> bool:
    """True for the text form of a UUID in lower case, of whatever version: the form of a node's UID."""
    return _UUID.fullmatch(text) is not None


def remark(text: str) -> str:
    """`text` as a `Remark`: cut, and with question marks for characters that must not be in one."""
    return _NOT_IN_A_REMARK.sub("?", text[:300])


class Body(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag=True):
    """Base of all bodies; on the wire `{"kind": "<class name>", ...}`."""
