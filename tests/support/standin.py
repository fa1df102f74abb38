"""Runs in the place of a program that a server of `forking.py` has forked: as `python -I -S standin.py …`.

It hands its descriptors over, forwards the signals it gets, and ends as the program does. When it is killed, the server
kills the program.
"""

import json
import os
import signal
import socket
import sys
from pathlib import Path

FORWARDED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def main(address: str, interpreter: str, arguments: list[str]) -> None:
    """Requests the program from the server at this address (hexadecimal). Does not return."""
    signal.pthread_sigmask(signal.SIG_BLOCK, FORWARDED)
    answers = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    answers.connect(bytes.fromhex(address))
    umask = os.umask(0)
    os.umask(umask)
    descriptors = _open_descriptors(besides=answers.fileno())
    request = {
        "arguments": arguments,
        "environment": dict(os.environ),
        "directory": str(Path.cwd()),
        "descriptors": descriptors,
        "umask": umask,
        "interpreter": interpreter,
    }
    namespaces = [os.open(f"/proc/self/ns/{kind}", os.O_RDONLY) for kind in ("net", "mnt")]
    socket.send_fds(answers, [json.dumps(request).encode()], [*descriptors, *namespaces])
    for descriptor in (*descriptors, *namespaces):
        os.close(descriptor)  # who reads from a pipe to the program waits for its end, not for ours
    pid = int(answers.recv(16))
    for number in FORWARDED:
        signal.signal(number, lambda number, frame: os.killpg(pid, number))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, FORWARDED)
    _end_as(int(answers.recv(16)))


def _open_descriptors(besides: int) -> list[int]:
    numbers = [int(name.name) for name in Path("/proc/self/fd").iterdir()]
    return sorted(number for number in numbers if number != besides and _is_open(number))


def _is_open(number: int) -> bool:
    try:
        os.fstat(number)
    except OSError:
        return False  # that of the listing itself
    return True


def _end_as(code: int) -> None:
    if code < 0:
        signal.signal(-code, signal.SIG_DFL) if -code != signal.SIGKILL else None
        os.kill(os.getpid(), -code)
    os._exit(code if code >= 0 else 128 - code)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3:])
