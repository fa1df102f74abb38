"""Requests to SWCI's web mode over mutual TLS."""

import http.client
import json
import secrets
import socket
import ssl
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

CONNECT_SECONDS: Final = 30.0
ANSWER_SECONDS: Final = 25 * 3600.0
"""Longer than the longest command; that the server is still there is seen from the connection (keepalive)."""
LARGEST_ANSWER: Final = 64 << 20
OPERATORS: Final = ("SWCI", "UI", "OPERATOR")


class SwciError(RuntimeError):
    """The client was made wrongly, or SWCI cannot be reached; the message says what to do."""


class NoOutputError(SwciError):
    """The answer to a command is empty."""


class Connection:
    """Where SWCI is, and as whom to ask; each request has a connection of its own."""

    def __init__(self, host: str, port: int, tls: ssl.SSLContext) -> None:
        self._host = host
        self._port = port
        self._tls = tls

    def execute(self, command: str) -> list[str]:
        """The strings that a command prints. Raises `SwciError`, or `NoOutputError` for an empty answer."""
        status, body = self._post(f"/exec?cmd={quote(command, safe='')}", b"", "application/octet-stream")
        answer = _decoded(body)
        if status != 200:
            raise SwciError(_detail(status, answer))
        if not answer:
            raise NoOutputError("the answer is empty")
        content = answer.get("CONTENT") if isinstance(answer, dict) else None
        if not isinstance(content, list):
            raise SwciError("the answer is not that of an SWCI in web mode")
        return [str(each) for each in content]

    def upload(self, name: str, content: bytes) -> str:
        """The reply to a file. Raises `SwciError`."""
        boundary = secrets.token_hex(16)
        shown = name.replace("\\", "\\\\").replace('"', '\\"')
        head = (
            f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="{shown}"\r\n'
            "Content-Type: application/octet-stream\r\n\r\n"
        )
        body = head.encode() + content + f"\r\n--{boundary}--\r\n".encode()
        status, answer = self._post("/uploadTaskDef", body, f"multipart/form-data; boundary={boundary}")
        if status != 200:
            raise SwciError(_detail(status, _decoded(answer)))
        return answer.decode(errors="replace")

    def _post(self, path: str, body: bytes, kind: str) -> tuple[int, bytes]:
        connection = http.client.HTTPSConnection(self._host, self._port, timeout=CONNECT_SECONDS, context=self._tls)
        try:
            connection.connect()
            _watch(connection.sock)
            connection.request("POST", path, body, {"Content-Type": kind})
            answer = connection.getresponse()
            content = answer.read(LARGEST_ANSWER + 1)
        except (OSError, http.client.HTTPException) as error:
            raise SwciError(f"SWCI at {self._host}:{self._port}: {str(error) or type(error).__name__}") from error
        finally:
            connection.close()
        if len(content) > LARGEST_ANSWER:
            raise SwciError(f"the answer is larger than {LARGEST_ANSWER} bytes")
        return answer.status, content


def tls_context(cert: str, key: str, authorities: str, *, verify: bool) -> ssl.SSLContext:
    """The TLS context of an operator; with `verify` only servers by these authorities, made for SWCI, are accepted.

    Raises `SwciError` where a file is missing or of another form.
    """
    tls = OperatorTls(ssl.PROTOCOL_TLS_CLIENT)
    tls.check_hostname = False  # nodes' certificates state a role, not an address
    tls.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        tls.load_cert_chain(cert, key)
        if verify:
            tls.verify_flags = (tls.verify_flags & ~ssl.VERIFY_X509_STRICT) | ssl.VERIFY_X509_PARTIAL_CHAIN
            tls.load_verify_locations(authorities)
        else:
            tls.verify_mode = ssl.CERT_NONE
    except OSError as error:  # `ssl.SSLError` is one
        raise SwciError(f"{cert}, {key}, {authorities}: cannot be used for TLS: {error}") from error
    return tls


class OperatorTls(ssl.SSLContext):
    """Connects to holders of operators' certificates only: any node of the organisation has one by its authority."""

    def wrap_socket(self, *arguments: Any, **options: Any) -> ssl.SSLSocket:
        """See `ssl.SSLContext`. Raises `ssl.SSLCertVerificationError` for a server that is none of an operator."""
        made = super().wrap_socket(*arguments, **options)
        if self.verify_mode == ssl.CERT_REQUIRED and not _is_operator(made.getpeercert() or {}):
            made.close()
            raise ssl.SSLCertVerificationError(1, "the server's certificate is not one of an SWCI")
        return made


def _is_operator(certificate: Any) -> bool:
    """True if a certificate, as `getpeercert` describes it, is for a role of operators."""
    identities = [value for kind, value in certificate.get("subjectAltName", ()) if kind == "URI"]
    if identities:
        return any(each.rpartition("/")[2].upper() in OPERATORS for each in identities)
    names = [value for part in certificate.get("subject", ()) for field, value in part if field == "commonName"]
    return any(name.upper().startswith(f"{role}-") for name in names for role in OPERATORS)


def _watch(sock: socket.socket) -> None:
    """Lets a command take its time, but notices when the server's host is gone."""
    sock.settimeout(ANSWER_SECONDS)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in (("TCP_KEEPIDLE", 60), ("TCP_KEEPINTVL", 20), ("TCP_KEEPCNT", 3)):
        if hasattr(socket, name):  # Linux
            sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


def _decoded(body: bytes) -> Any:
    try:
        return json.loads(body)
    except ValueError as error:
        raise SwciError("the answer is no JSON") from error


def _detail(status: int, answer: Any) -> str:
    detail = answer.get("detail") if isinstance(answer, dict) else None
    return f"{detail or 'the request is refused'} (HTTP {status})"


def read_file(path: str | Path) -> tuple[str, bytes]:
    """Name and content of a file. Raises `SwciError`."""
    try:
        return Path(path).name, Path(path).read_bytes()
    except OSError as error:
        raise SwciError(f"{path}: cannot be read: {error.strerror}") from error
