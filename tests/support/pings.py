"""Pings from one host of `Namespaces` to another; the program of that name is not everywhere."""

import os
import socket
import statistics
import struct
from time import perf_counter

from support.namespaces import Namespaces

PINGS = 5
SECONDS = 10.0
ECHO, ECHO_REPLY = 8, 0


def ping_seconds(hosts: Namespaces, here: int, there: int, within: float = SECONDS) -> float:
    """Median round-trip time of ICMP echo requests from a host to another. Raises `TimeoutError` without an answer."""
    with hosts.within(here), socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP) as raw:
        raw.settimeout(within)
        _ping(raw, hosts.address(there), 0)  # who has this address is asked for once
        return statistics.median(_ping(raw, hosts.address(there), number) for number in range(1, PINGS + 1))


def _ping(raw: socket.socket, address: str, number: int) -> float:
    mine = struct.pack("!HH", os.getpid() & 0xFFFF, number)
    begin = perf_counter()
    raw.sendto(struct.pack("!BBH", ECHO, 0, _checksum(bytes([ECHO, 0]) + mine)) + mine, (address, 0))
    while True:
        packet = raw.recv(2048)
        answer = packet[(packet[0] & 0xF) * 4 :]  # behind IP's header
        if answer[0] == ECHO_REPLY and answer[4:8] == mine:
            return perf_counter() - begin


def _checksum(message: bytes) -> int:
    """That of RFC 1071 over an even number of bytes."""
    total: int = sum(struct.unpack(f"!{len(message) // 2}H", message))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total ^ 0xFFFF
