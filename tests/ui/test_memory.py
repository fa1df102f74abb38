"""What the checks of passwords take goes back to the system."""

import subprocess
import sys

import pytest

CHECKS = """
import asyncio
import psutil
from swarmlearning.ui.memory import give_back
from swarmlearning.ui.security.passwords import Passwords, hashed

async def check():
    passwords, stored = Passwords(), hashed("correct horse battery")
    for _ in range(2):
        await asyncio.gather(*(passwords.matches("correct horse battery", stored) for _ in range(4)))

{first}
before = psutil.Process().memory_info().rss
asyncio.run(check())
print(psutil.Process().memory_info().rss - before)
"""


def kept(first: str) -> int:
    """Bytes that a process has more, after passwords were checked at the same time, if it begins like this."""
    command = [sys.executable, "-c", CHECKS.format(first=first)]
    return int(subprocess.run(command, capture_output=True, text=True, check=True, timeout=150).stdout)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc's allocator is Linux'")
def test_memory_of_checked_passwords_is_given_back() -> None:
    assert kept("give_back()") < 8 * 2**20
