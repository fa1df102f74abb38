"""Opens a site's privacy lock: its policy has to be out of everybody's reach but the SL's user's and root's."""

import logging
import os
import stat
from pathlib import Path
from typing import Final

from swarmlearning.bridge.parents import check_parents, has_access_list
from swarmlearning.documents.faults import DocumentError
from swarmlearning.files import open_plain
from swarmlearning.models.store import TensorStore
from swarmlearning.node.errors import NodeError
from swarmlearning.privacy.policyfile import MAX_BYTES, PolicyFile, read_lock
from swarmlearning.privacy.record import Record
from swarmlearning.sl.locking import SiteLock
from swarmlearning.sl.lockmemory import LockMemory

logger = logging.getLogger("swarm.SL")

SUFFIX: Final = ".given.jsonl"
SAME_USER: Final = (
    "The training script runs as the same user as this node: it can read the node's key and rewrite %s. The privacy "
    "lock binds scripts of another user only: start them by a SWOP, or with --channel-dir and --ml-group"
)


def open_lock(policy: Path, directory: Path, store: TensorStore, *, same_user: bool) -> SiteLock:
    """The lock of this policy, with its record; `directory` is the data directory. Blocks.

    `same_user`: the script runs as the user of this process. Raises `UserError`, and nothing is trained then.
    """
    lock, named = _read(policy)
    record = policy.parent / named if named else policy.with_name(policy.name + SUFFIX)
    try:
        check_parents(record, None)
        if not record.parent.is_dir():
            raise FileNotFoundError(0, "there is no such folder; make it, for this user alone", str(record.parent))
        if record.exists():
            _check(record, record.lstat())
        memory = LockMemory(directory)
    except OSError as error:
        raise NodeError(
            f"{error.filename or record}: cannot be the record of what was given: {error.strerror}"
        ) from error
    site = SiteLock(lock, Record(record), memory, store)
    budget = site.open()
    logger.info("Privacy lock %s: %s", policy, lock.text)
    logger.info("Privacy lock: %s", budget)
    if same_user:
        logger.warning(SAME_USER, policy)
    return site


def _read(policy: Path) -> PolicyFile:
    try:
        check_parents(policy, None)
        with open_plain(policy) as file:
            _check(policy, os.fstat(file.fileno()))
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise NodeError(f"{policy}: cannot be the privacy policy: {error.strerror}") from error
    if len(data) > MAX_BYTES:
        raise NodeError(f"{policy}: a privacy policy has at most {MAX_BYTES} bytes")
    try:
        return read_lock(data, str(policy))
    except DocumentError as error:
        raise NodeError(str(error)) from error


def _check(path: Path, found: os.stat_result) -> None:
    """Raises `OSError` for a file that other users could change."""
    if not stat.S_ISREG(found.st_mode):
        raise OSError(0, "it is no plain file", str(path))
    if found.st_uid not in (os.geteuid(), 0):
        raise OSError(0, f"it belongs to user {found.st_uid}", str(path))
    if found.st_mode & (stat.S_IWGRP | stat.S_IWOTH) or has_access_list(path):
        raise OSError(0, "other users can write to it; take that from them (chmod 600)", str(path))
