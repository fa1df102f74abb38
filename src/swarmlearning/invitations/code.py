"""The code of an invitation: all that a newcomer needs, as one word of letters and digits for a mail or a chat.

    swarm1<base32 of: length (2 bytes), content, checksum (4 bytes)>

The content is MessagePack. Case does not matter, nor do spaces, line breaks and the marks that mail and chat programs
put in or around (quotation marks, `>` before each line): the letters are those that Base32 (RFC 4648) has. The length
comes first, so that a code that was cut off is told from a mistyped one. A code is a secret, since it has the one-time
private key: it is never logged, nor part of a message.
"""

import base64
import binascii
import hashlib
import re
from typing import Annotated, Final, TypeAlias

import msgspec

from swarmlearning.address import AddressError, split
from swarmlearning.errors import UserError
from swarmlearning.ledger.contracts.network.bodies import ROLES
from swarmlearning.ledger.fields import OrganisationId

PREFIX: Final = "swarm1"
MAX_ADDRESSES: Final = 3
MAX_AUTHORITIES: Final = 12
LONGEST: Final = 4096
"""Characters of a text that may be a code."""
_PUT_IN_BETWEEN: Final = re.compile("[\\s<>\"'`*\u00ab\u00bb\u2018-\u201f\u00ad\u200b-\u200f\u2060\ufeff]+")
"""By mail and chat programs: white space, quotation marks, those of quoted lines, and marks that nobody sees."""
_ANY_VERSION: Final = re.compile(r"swarm[0-9]+")
_LENGTH_BYTES: Final = 2
_CHECKSUM_BYTES: Final = 4
_LENGTH_CHARACTERS: Final = 4
"""Which hold the length."""

Sha256: TypeAlias = Annotated[bytes, msgspec.Meta(min_length=32, max_length=32)]


class CodeError(UserError):
    """A text that is no code; the message does not repeat it."""


class JoinCode(msgspec.Struct, frozen=True, array_like=True):
    """An invitation to a network, by its ID; `key` is the one-time private key.

    `organisation` is whose node is invited, or the new organisation, for which `name` is empty; `name` is the node's
    common name, such as `SL-1`. `expires`: Unix seconds. `addresses`: of join ports; an SN there has a certificate by
    one of the `authorities`, by thumbprint. The first `own` of them are those of the node's organisation, which alone
    may issue its certificate; the others only show that an SN is one.
    """

    network: Sha256
    key: Sha256
    organisation: OrganisationId
    name: Annotated[str, msgspec.Meta(max_length=64)]
    expires: Annotated[int, msgspec.Meta(ge=0, lt=2**40)]
    addresses: Annotated[tuple[str, ...], msgspec.Meta(min_length=1, max_length=MAX_ADDRESSES)]
    authorities: Annotated[tuple[Sha256, ...], msgspec.Meta(min_length=1, max_length=MAX_AUTHORITIES)]
    own: Annotated[int, msgspec.Meta(ge=0, le=MAX_AUTHORITIES)]

    def __repr__(self) -> str:
        return f"JoinCode(for {self.name or self.organisation!r})"

    @property
    def network_id(self) -> str:
        """The network's ID, as others show it."""
        return self.network.hex()

    @property
    def issuers(self) -> tuple[bytes, ...]:
        """The authorities that may issue the node's certificate, by thumbprint."""
        return self.authorities[: self.own]


_ENCODER: Final = msgspec.msgpack.Encoder()
_DECODER: Final = msgspec.msgpack.Decoder(JoinCode)
_NODE: Final = re.compile(rf"({'|'.join(ROLES)})-[A-Za-z0-9][A-Za-z0-9._-]*", re.ASCII)


def write_code(code: JoinCode) -> str:
    """The code as text."""
    content = _ENCODER.encode(code)
    counted = len(content).to_bytes(_LENGTH_BYTES) + content
    return PREFIX + base64.b32encode(counted + _checksum(counted)).decode().rstrip("=").lower()


def read_code(text: str) -> JoinCode:
    """The invitation in a text. Raises `CodeError` that says what is wrong with it, and never what it is."""
    if len(text) > LONGEST:
        raise CodeError(f"the code has at most {LONGEST} characters: copy it alone, from swarm1 to its end")
    word = _PUT_IN_BETWEEN.sub("", text).lower()
    version = _ANY_VERSION.match(word)
    if not word.startswith(PREFIX):
        if version is not None:
            raise CodeError(f"a code of a version that is not known here ({version[0][:16]}): update this program")
        raise CodeError(f"this is no code of an invitation: such a code begins with {PREFIX}. Copy the whole of it")
    content = _content(word.removeprefix(PREFIX))
    try:
        code = _DECODER.decode(content)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise CodeError(
            "the code is whole, but its content cannot be understood: another version of this program may have made "
            "it; ask for another one, from an SN of this version"
        ) from error
    _check(code)
    return code


def _content(encoded: str) -> bytes:
    """What is between length and checksum. Raises `CodeError`."""
    whole = _expected(encoded)
    if len(encoded) < whole:
        raise CodeError(
            f"the code is cut off: it has {len(PREFIX) + len(encoded)} of {len(PREFIX) + whole} characters; copy the "
            "whole of it, and put it in quotes where it is broken over several lines"
        )
    raw = _decoded(encoded)
    counted, checksum = raw[:-_CHECKSUM_BYTES], raw[-_CHECKSUM_BYTES:]
    if len(encoded) > whole or _checksum(counted) != checksum:
        raise CodeError("the code has a mistake, or something else behind it: copy it anew, from swarm1 to its end")
    return counted[_LENGTH_BYTES:]


def _expected(encoded: str) -> int:
    """The number of characters of a code, by the length that it begins with. Raises `CodeError`."""
    if len(encoded) < _LENGTH_CHARACTERS:
        raise CodeError("the code is cut off: nothing but its beginning is there; copy the whole of it")
    length = int.from_bytes(_decoded(encoded[:_LENGTH_CHARACTERS])[:_LENGTH_BYTES])
    return -(-(_LENGTH_BYTES + length + _CHECKSUM_BYTES) * 8 // 5)


def _decoded(encoded: str) -> bytes:
    try:
        return base64.b32decode(encoded + "=" * (-len(encoded) % 8), casefold=True)
    except (binascii.Error, ValueError) as error:
        raise CodeError(
            "the code has a mistake: apart from its beginning it consists of the letters a to z and the digits 2 to 7"
        ) from error


def _checksum(counted: bytes) -> bytes:
    return hashlib.sha256(counted).digest()[:_CHECKSUM_BYTES]


def _check(code: JoinCode) -> None:
    """Raises `CodeError` for a name or an address that is none."""
    if code.name and _NODE.fullmatch(code.name) is None:
        raise CodeError("the code names no node whose name could be used: ask for another one")
    for address in code.addresses:
        try:
            split(address)
        except AddressError as error:
            raise CodeError("the code names an address that is none: ask for another one") from error
