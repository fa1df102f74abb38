"""Fixtures that several rooms' tests share."""

import os
import resource
import select
import signal
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager

import pytest

from support.checks import HELD, MISSED, Check

SECONDS = 150.0
"""For machines under heavy load; nothing comes near it otherwise."""


def _wait_until_gone(pids: Iterable[int]) -> None:
    """Until none of these processes runs; fails when one still does after `SECONDS`, and ends it.

    Through pidfds, which report the end of any process, be it a child of ours, reaped or not.
    """
    deadline = time.monotonic() + SECONDS
    for pid in pids:
        try:
            descriptor = os.pidfd_open(pid)
        except ProcessLookupError:
            continue
        try:
            ended = select.select([descriptor], [], [], max(0.0, deadline - time.monotonic()))[0]
            if not ended:
                signal.pidfd_send_signal(descriptor, signal.SIGKILL)
            assert ended, f"process {pid} still ran"
        finally:
            os.close(descriptor)


@pytest.fixture
def wait_until_gone() -> Callable[[Iterable[int]], None]:
    return _wait_until_gone


@contextmanager
def no_file_larger_than(size: int) -> Iterator[None]:
    """Makes the kernel refuse to let a file grow beyond so many bytes, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.fixture
def largest_file() -> Callable[[int], AbstractContextManager[None]]:
    return no_file_larger_than


@pytest.fixture
def check(record_property: Callable[[str, object], None]) -> Check:
    @contextmanager
    def checking(sentence: str) -> Iterator[None]:
        try:
            yield
        except BaseException:
            record_property(MISSED, sentence)
            raise
        record_property(HELD, sentence)

    return checking
