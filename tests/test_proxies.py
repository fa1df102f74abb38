"""HTTP proxies that the environment names: which one leads where, and the way through it over a real socket."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest

from swarmlearning.proxies import Proxy, ProxyError, connect, proxy_of, proxy_to, proxy_url

VARIABLES = {"http_proxy": "http://p:1", "ALL_PROXY": "http://q:2", "NO_PROXY": ".inside,10.0.0.1,*.wild,fd00::/8"}


@pytest.mark.parametrize(
    ("scheme", "host", "expected"),
    [
        ("http", "a", "http://p:1"),
        ("https", "a", "http://q:2"),
        ("https", "x.inside", None),
        ("https", "X.INSIDE", None),
        ("https", "inside", None),
        ("https", "x.beside", "http://q:2"),
        ("https", "x.wild", None),
        ("http", "10.0.0.1", None),
        ("http", "10.0.0.10", "http://p:1"),
        ("https", "fd00::1", None),
        ("https", "fe00::1", "http://q:2"),
    ],
)
def test_proxies_are_chosen_by_scheme_and_host(scheme: str, host: str, expected: str | None) -> None:
    assert proxy_url(scheme, host, VARIABLES) == expected


@pytest.mark.parametrize("listed", ["10.0.0.0/8", "192.168.0.0/16, 10.0.0.0/8", "*", "10.1.2.3"])
def test_a_network_or_everything_goes_directly(listed: str) -> None:
    assert proxy_to("10.1.2.3", {"https_proxy": "http://p:1", "no_proxy": listed}) is None


def test_lower_case_precedes_upper_case() -> None:
    assert proxy_to("far", {"HTTPS_PROXY": "http://p:1", "https_proxy": "http://q:2"}) == Proxy("q", 2)


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.1", "::1"])
def test_this_machine_is_reached_directly(host: str) -> None:
    assert proxy_to(host, {"https_proxy": "http://p:1"}) is None


def test_a_proxy_may_be_named_without_its_scheme_and_with_a_user() -> None:
    assert proxy_of("p.example.org:3128") == Proxy("p.example.org", 3128)
    assert proxy_of("http://[fd00::1]") == Proxy("fd00::1", 80)
    assert proxy_of("http://user:p%40ss@p:1") == Proxy("p", 1, "user", "p@ss")


@pytest.mark.parametrize("url", ["https://user:secret@p:1", "socks5://p:1", "http://", "http://user:secret@p:99999"])
def test_what_names_no_http_proxy_is_refused_without_its_password(url: str) -> None:
    with pytest.raises(ProxyError, match="names no HTTP proxy") as caught:
        proxy_of(url)
    assert "secret" not in str(caught.value)
    assert "secret" not in repr(Proxy("p", 1, "user", "secret"))


@contextmanager
def proxy(answer: bytes, heard: list[bytes]) -> Iterator[str]:
    """One that gives this answer to one client."""

    def serve() -> None:
        with listener.accept()[0] as sock:
            heard.append(sock.recv(4096))
            with suppress(OSError):  # the client has seen enough
                sock.sendall(answer)
                sock.shutdown(socket.SHUT_WR)
                heard.append(sock.recv(4096))

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve)
        thread.start()
        yield f"http://user:word@127.0.0.1:{listener.getsockname()[1]}"
        thread.join()


def test_a_connection_through_a_proxy_has_all_that_follows_its_answer() -> None:
    heard: list[bytes] = []
    with (
        proxy(b"HTTP/1.1 200 Connection established\r\nProxy-agent: x\r\n\r\nfirst", heard) as url,
        connect("far.example.org", 30304, 10.0, {"https_proxy": url}) as sock,
    ):
        assert sock.recv(100) == b"first"
        sock.sendall(b"hello")
    assert heard[0].startswith(b"CONNECT far.example.org:30304 HTTP/1.1\r\nHost: far.example.org:30304\r\n")
    assert b"Proxy-Authorization: Basic dXNlcjp3b3Jk\r\n" in heard[0]
    assert heard[1] == b"hello"


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        (b"HTTP/1.1 403 Filtered\r\n\r\n", "lets no connection through: '403 Filtered'"),
        (b"", "gives no answer"),
        (b"x" * 20_000, "gives no answer"),
        (b"SSH-2.0-OpenSSH_9.2\r\n\r\n", "lets no connection through"),
    ],
)
def test_a_proxy_that_does_not_connect_is_an_error_that_says_so(answer: bytes, text: str) -> None:
    with (
        proxy(answer, []) as url,
        pytest.raises(ProxyError, match=text) as caught,
        connect("far.example.org", 30304, 10.0, {"https_proxy": url}),
    ):
        pass
    assert "word" not in str(caught.value)


def test_a_proxy_that_cannot_be_reached_is_named() -> None:
    with (
        pytest.raises(ProxyError, match=r"the proxy 127\.0\.0\.1:1 cannot be reached"),
        connect("far.example.org", 30304, 10.0, {"https_proxy": "http://127.0.0.1:1"}),
    ):
        pass
