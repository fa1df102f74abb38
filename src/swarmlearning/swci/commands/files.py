"""Commands about the current directory."""

from swarmlearning.swci.folders import FolderError
from swarmlearning.swci.output import Line, line
from swarmlearning.swci.pattern import tokens
from swarmlearning.swci.session import Session


async def change(session: Session, directory: str) -> list[Line]:
    """CD."""
    return [line(f"Current Directory : {session.folders.change(directory)}", "answer")]


async def current(session: Session) -> list[Line]:
    """PWD."""
    return [line(str(session.folders.current))]


async def show(session: Session, options: str) -> list[Line]:
    """LS, with the options -a and -l."""
    words = [word.text for word in tokens(options)]
    flags = {letter for word in words if word.startswith("-") for letter in word[1:]}
    paths = [word for word in words if not word.startswith("-")] or ["."]
    if unknown := flags - {"a", "l"}:
        raise FolderError(f"LS has the options -a and -l, not -{''.join(sorted(unknown))}")
    hidden, long = "a" in flags, "l" in flags
    return [line(text) for path in paths for text in session.folders.listed(path, hidden=hidden, long=long)]
