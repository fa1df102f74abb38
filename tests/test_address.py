"""Addresses as text, there and back."""

import pytest

from swarmlearning.address import AddressError, is_loopback, join, require_announceable, require_host, split, with_port


@pytest.mark.parametrize(
    ("host", "port", "address"),
    [
        ("10.0.0.1", 30305, "10.0.0.1:30305"),
        ("sl-1.hospital_a.example", 1, "sl-1.hospital_a.example:1"),
        ("fd00::1", 65535, "[fd00::1]:65535"),
        ("::ffff:10.0.0.1", 443, "[::ffff:10.0.0.1]:443"),
    ],
)
def test_an_address_is_joined_from_and_split_into_host_and_port(host: str, port: int, address: str) -> None:
    assert join(host, port) == address
    assert split(address) == (host, port)


def test_an_ipv6_host_may_be_given_in_brackets() -> None:
    assert join("[fd00::1]", 443) == "[fd00::1]:443"


@pytest.mark.parametrize(
    "text",
    ["", "host", ":1", "host:", "host:0", "host:65536", "host:-1", "host:x", "host:1\n", "a:b:1", "a/path:1", "fd::1"],
)
def test_the_refusal_of_an_invalid_address_names_the_right_form(text: str) -> None:
    with pytest.raises(AddressError, match="is no address: it has the form host:port") as told:
        split(text)
    assert repr(text) in str(told.value)


@pytest.mark.parametrize(
    ("service", "address"),
    [("sn.example", "sn.example:443"), ("sn.example:8443", "sn.example:8443"), ("[fd00::1]", "[fd00::1]:443")],
)
def test_a_service_may_be_named_without_its_port(service: str, address: str) -> None:
    assert with_port(service, 443) == address


@pytest.mark.parametrize("service", ["fd00::1", "sn.example:x", "https://sn.example"])
def test_a_service_with_an_invalid_address_is_refused(service: str) -> None:
    with pytest.raises(AddressError, match="is no address"):
        with_port(service, 443)


@pytest.mark.parametrize(
    "host", ["0.0.0.0", "0", "0.0", "::", "[::]", "::0", "0:0:0:0:0:0:0:0", "::ffff:0.0.0.0", "0x0", "00000"]
)
def test_an_address_that_stands_for_a_whole_machine_cannot_be_announced(host: str) -> None:
    with pytest.raises(AddressError, match="stands for all addresses of a machine"):
        require_announceable(host)


@pytest.mark.parametrize("host", ["224.0.0.1", "ff02::1", "255.255.255.255"])
def test_an_address_of_a_group_cannot_be_announced(host: str) -> None:
    with pytest.raises(AddressError, match="is a group of machines"):
        require_announceable(host)


@pytest.mark.parametrize("host", ["10.0.0.1", "127.0.0.1", "::1", "[fd00::1]", "sl-1.example", "localhost", "a..b"])
def test_addresses_of_single_machines_and_names_may_be_announced(host: str) -> None:
    require_announceable(host)


@pytest.mark.parametrize("host", ["10.0.0.1", "localhost", "sl-1.hospital_a.example", "fd00::1", "[fd00::1]"])
def test_a_name_and_an_ip_address_are_hosts(host: str) -> None:
    require_host(host)


@pytest.mark.parametrize(
    "text", ["10.0.0.1:30304", "[fd00::1]:30304", "https://10.0.0.1", "a b", "host/path", "fd::1::2"]
)
def test_a_host_with_a_port_or_a_scheme_is_refused(text: str) -> None:
    with pytest.raises(AddressError, match="is neither a host name nor an IP address; a port goes into its own option"):
        require_host(text)


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "127.1", "127.0.1.1", "::1", "[::1]", "::ffff:127.0.0.1", "localhost", "LocalHost"]
)
def test_a_loopback_address_is_known_in_every_notation(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize("host", ["10.0.0.1", "fd00::1", "sl-1.example", "128.0.0.1", "localhost.example"])
def test_an_address_or_name_of_another_kind_is_no_loopback(host: str) -> None:
    assert not is_loopback(host)
