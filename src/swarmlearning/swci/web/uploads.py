"""Files that clients upload: plain files in the session's current directory, bounded in size and number."""

from pathlib import Path
from typing import Final

from swarmlearning.files import replace_file
from swarmlearning.swci.folders import LARGEST_FILE, MOST_LISTED, FolderError, Folders
from swarmlearning.views.names import displayed

LONGEST_NAME: Final = 128
MOST_FILES: Final = MOST_LISTED
"""In the directory: no more than LS shows."""


def store(folders: Folders, name: str, content: bytes, script: Path | None) -> Path:
    """Writes an uploaded file, in place of one of this name; `script` is the one that runs at the start, which stays.

    Raises `FolderError`.
    """
    shown = displayed(name)
    if not (
        0 < len(name) <= LONGEST_NAME and name.isprintable() and name[0] not in ".-~" and not set(name) & set("/\\")
    ):
        raise FolderError(
            f"{shown!r}: a file's name has 1 to {LONGEST_NAME} printable characters, begins with none of . - ~ "
            "and names no folder"
        )
    if len(content) > LARGEST_FILE:
        raise FolderError(f"{shown}: larger than {LARGEST_FILE} bytes")
    folder = folders.path(".")
    path = folder / name
    if script is not None and path == script:
        raise FolderError(f"{shown}: the script that runs at the start is not replaced by an upload")
    try:
        if path.is_symlink() or (path.exists() and not path.is_file()):
            raise FolderError(f"{shown}: there is something else of this name, which is no plain file")
        if not path.exists() and sum(1 for _ in folder.iterdir()) >= MOST_FILES:
            raise FolderError(f"{folder} has {MOST_FILES} entries or more; remove some before another upload")
        replace_file(path, content, 0o644)
    except OSError as error:
        raise FolderError(f"{shown}: cannot be written: {error.strerror}") from error
    return path
