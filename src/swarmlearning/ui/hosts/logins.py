"""Who logs in at a host, and with what. A secret shows itself nowhere but where it is used."""

from dataclasses import dataclass, field
from typing import Final

import msgspec

from swarmlearning.errors import UserError

MOST: Final = 64 * 1024
"""Characters of a password or private key."""


class LoginError(UserError):
    """A login that cannot be used as it is."""


class Secret:
    """A text that neither `repr`, `str` nor an exception's message shows. Two are equal if their texts are."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        if len(text) > MOST:
            raise LoginError(f"a secret has at most {MOST} characters, and this one {len(text)}")
        self._text = text

    def reveal(self) -> str:
        """The text itself."""
        return self._text

    def __repr__(self) -> str:
        return "Secret(…)"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and self._text == other._text

    def __hash__(self) -> int:
        return hash(self._text)

    def __bool__(self) -> bool:
        return bool(self._text)


NONE: Final = Secret("")


@dataclass(frozen=True)
class Login:
    """A user with a password, or with a private key (OpenSSH, PEM) and the passphrase that decrypts it."""

    user: str
    password: Secret = NONE
    key: Secret = NONE
    passphrase: Secret = field(default=NONE)

    def __post_init__(self) -> None:
        if not self.user or len(self.user) > 256 or any(each.isspace() or not each.isprintable() for each in self.user):
            raise LoginError("name the user who logs in at the host, such as swarm")
        if bool(self.password) == bool(self.key):
            raise LoginError(f"{self.user} logs in with a password or with a private key: give one of them")


class _Kept(msgspec.Struct, frozen=True, omit_defaults=True):
    user: str
    password: str = ""
    key: str = ""
    passphrase: str = ""


def packed(login: Login) -> str:
    """The login as one text, to be sealed: it has the secrets in it."""
    kept = _Kept(login.user, login.password.reveal(), login.key.reveal(), login.passphrase.reveal())
    return msgspec.json.encode(kept).decode()


def unpacked(text: str) -> Login:
    """The login of such a text. Raises `LoginError`."""
    try:
        kept = msgspec.json.decode(text, type=_Kept)
    except msgspec.DecodeError:
        raise LoginError("a login that is kept cannot be read any more; enter it anew") from None
    return Login(kept.user, Secret(kept.password), Secret(kept.key), Secret(kept.passphrase))
