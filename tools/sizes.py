"""Names every Python file of the repository with more than 400 lines, and every function with more than 50."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

FILE_LINES = 400
FUNCTION_LINES = 50


def too_long(path: str, source: str) -> Iterator[str]:
    """Yields a line for the file, and one for each function, that has too many lines."""
    if (lines := len(source.splitlines())) > FILE_LINES:
        yield f"{path}:1: {lines} lines; split it: a file has at most {FILE_LINES}"
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = (node.end_lineno or node.lineno) - node.lineno + 1
            if lines > FUNCTION_LINES:
                yield f"{path}:{node.lineno}: {node.name} has {lines} lines; a function has at most {FUNCTION_LINES}"


def main() -> int:
    """Prints what is too long among the files that git knows or would add; returns 1 when there is any."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.py"]
    files = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    paths = [path for path in files if Path(path).exists()]
    found = [line for path in paths for line in too_long(path, Path(path).read_text())]
    print("".join(f"{line}\n" for line in found), end="")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
