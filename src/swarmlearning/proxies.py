"""HTTP proxies that the environment names (`https_proxy`, `no_proxy` and so on), and the way through one of them."""

import base64
import ipaddress
import socket
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Final, NamedTuple
from urllib.parse import unquote, urlsplit

from swarmlearning.address import is_loopback, join
from swarmlearning.errors import UserError

MAX_HEAD: Final = 16 * 1024
"""Bytes of a proxy's answer to CONNECT."""


class ProxyError(UserError, OSError):
    """A proxy that is named wrongly, or does not let a connection through."""


class Proxy(NamedTuple):
    """An HTTP proxy; its text shows neither user nor password."""

    host: str
    port: int
    user: str = ""
    password: str = ""

    def __str__(self) -> str:
        return join(self.host, self.port)

    def __repr__(self) -> str:
        return f"Proxy({self})"


def proxy_url(scheme: str, host: str, variables: Mapping[str, str]) -> str | None:
    """The URL of the proxy by which a host is reached for a scheme: by the variable for it, else by that for all.

    None where `no_proxy` lists the host: by its name, a domain that it is in, its address or network, or `*`.
    """
    found = {
        name.lower().removesuffix("_proxy"): value
        for name, value in sorted(variables.items())  # lower case last: it precedes upper case
        if name.lower().endswith("_proxy") and value
    }
    if _goes_directly(host.lower(), found.get("no", "")):
        return None
    return found.get(scheme) or found.get("all")


def proxy_to(host: str, variables: Mapping[str, str]) -> Proxy | None:
    """The proxy through which a node reaches another host; None: directly, as this machine itself always is.

    Raises `ProxyError` for a URL that names none.
    """
    url = None if is_loopback(host) else proxy_url("https", host, variables)
    return proxy_of(url) if url else None


def proxy_of(url: str) -> Proxy:
    """The proxy that a URL names; `http://` may be left out. Raises `ProxyError`, which shows no password."""
    try:
        parts = urlsplit(url if "://" in url else f"http://{url}")
        scheme, host, port = parts.scheme, parts.hostname or "", parts.port or 80
    except ValueError:
        scheme, host, port = "", "", 0
    if scheme != "http" or not host:
        raise ProxyError("https_proxy names no HTTP proxy: it has the form http://HOST:PORT")
    return Proxy(host, port, unquote(parts.username or ""), unquote(parts.password or ""))


def connect(host: str, port: int, seconds: float, variables: Mapping[str, str]) -> socket.socket:
    """A TCP connection to a port of a host, by the way that the environment's `variables` name. Blocks.

    Raises OSError, of which `ProxyError` is a kind.
    """
    proxy = proxy_to(host, variables)
    if proxy is None:
        return socket.create_connection((host, port), seconds)
    return connect_through(proxy, host, port, seconds)


def connect_through(proxy: Proxy, host: str, port: int, seconds: float) -> socket.socket:
    """A TCP connection that a proxy has made to a port of a host. Blocks. Raises OSError."""
    deadline = time.monotonic() + seconds
    try:
        sock = socket.create_connection((proxy.host, proxy.port), seconds)
    except OSError as error:
        raise ProxyError(f"the proxy {proxy} cannot be reached: {error.strerror or error}") from error
    try:
        lines = [f"CONNECT {join(host, port)} HTTP/1.1", f"Host: {join(host, port)}"]
        if proxy.user:
            secret = base64.b64encode(f"{proxy.user}:{proxy.password}".encode()).decode()
            lines.append(f"Proxy-Authorization: Basic {secret}")
        sock.sendall("".join(f"{line}\r\n" for line in (*lines, "")).encode("ascii"))
        version, _, status = _head(sock, deadline).partition("\r\n")[0].partition(" ")
        if not version.startswith("HTTP/1.") or not status.startswith("2"):
            raise ProxyError(f"the proxy {proxy} lets no connection through: {status[:100]!r}")
        sock.settimeout(seconds)
    except BaseException:
        sock.close()
        raise
    return sock


def _head(sock: socket.socket, deadline: float) -> str:
    """A proxy's answer, and nothing of what follows it."""
    head = bytearray()
    while not head.endswith(b"\r\n\r\n"):
        left = deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        sock.settimeout(left)
        if not (byte := sock.recv(1)) or len(head) >= MAX_HEAD:
            raise ProxyError("the proxy gives no answer that can be understood")
        head += byte
    return head.decode("latin-1")


def _goes_directly(host: str, no_proxy: str) -> bool:
    names = [name.strip().lower() for name in no_proxy.split(",") if name.strip()]
    domains = [name.lstrip("*").lstrip(".") for name in names if name != "*"]
    return "*" in names or any(host == name or host.endswith(f".{name}") for name in domains) or _is_in(host, names)


def _is_in(host: str, networks: list[str]) -> bool:
    """True for an address in one of these that are networks (`10.0.0.0/8`, `fd00::/8`)."""
    with suppress(ValueError):
        address = ipaddress.ip_address(host.strip("[]"))
        for network in networks:
            with suppress(ValueError):
                if address in ipaddress.ip_network(network.strip("[]"), strict=False):
                    return True
    return False
