"""A TLS context that connects to servers of one kind only, such as SNs.

A trusted certificate shows that its holder belongs to a member, not that it is an SN: any node's key would do
to stand between an SL and its network. So the certificate is judged while the handshake is under way, before a byte is
sent or read.
"""

import ssl
from collections.abc import Callable
from typing import Any, TypeAlias
from weakref import WeakSet

from swarmlearning.identity.certificates import CertificateError, load_der, role_of
from swarmlearning.transport.parties import Credential, credential_of

Fault: TypeAlias = Callable[[Credential], str]
"""Returns why the holder of a credential is not the server that is wanted; empty when it is."""


def role_fault(credential: Credential) -> str:
    """The fault of a certificate that is not made for an SN."""
    try:
        certificate = load_der(credential.certificate)
        role = role_of(certificate)
    except CertificateError as error:
        return str(error)
    name = certificate.subject.rfc4514_string()
    return "" if role == "SN" else f"its certificate {name!r} is for the role {role}, not SN"


class WrongPeerError(ssl.SSLCertVerificationError):
    """The server's certificate is trusted, and is not that of the server wanted; `detail` says why."""

    def __init__(self, detail: str) -> None:
        super().__init__(1, detail)
        self.detail = detail


class PeerTls(ssl.SSLContext):
    """`tls` (a client's context), for connections that end in `WrongPeerError` when `fault` finds one."""

    _tls: ssl.SSLContext
    _fault: Fault
    _open: "WeakSet[_Judged]"

    def __new__(cls, tls: ssl.SSLContext, fault: Fault) -> "PeerTls":
        """Shares all settings of `tls`; its own are not used."""
        made = super().__new__(cls, ssl.PROTOCOL_TLS_CLIENT)
        made._tls, made._fault, made._open = tls, fault, WeakSet()
        return made

    def __init__(self, tls: ssl.SSLContext, fault: Fault) -> None:
        pass  # `ssl.SSLContext` is complete once it is made

    def wrap_bio(self, *arguments: Any, **options: Any) -> Any:
        """See `ssl.SSLContext`."""
        made = _Judged(self._tls.wrap_bio(*arguments, **options), self._fault)
        self._open.add(made)
        return made

    def fault(self) -> str:
        """The fault that is found now in a server at the other end of an open connection; empty where there is none."""
        judged = [self._fault(each.credential) for each in list(self._open) if each.credential is not None]
        return next(filter(None, judged), "")


class _Judged:
    """An `ssl.SSLObject` whose handshake ends with a check of the peer."""

    def __init__(self, connection: ssl.SSLObject, fault: Fault) -> None:
        self._connection = connection
        self._fault = fault
        self.credential: Credential | None = None  # of the server, once the handshake has ended well

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

    def do_handshake(self) -> None:
        """See `ssl.SSLObject`. Raises `WrongPeerError` too."""
        self._connection.do_handshake()
        if detail := self._fault(credential := credential_of(self._connection)):
            raise WrongPeerError(detail)
        self.credential = credential
