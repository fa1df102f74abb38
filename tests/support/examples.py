"""The examples, and the accuracy that each promises."""

import ast
import re
from pathlib import Path

EXAMPLES = Path(__file__).parents[2] / "examples"


LATER_IN_TORCH = "torch._dynamo"
"""The module that PyTorch imports with its first optimizer: most of two seconds of CPU time."""


def stated_bar(name: str) -> float:
    """Returns the accuracy below which, according to the example's README, it has failed."""
    expected = (EXAMPLES / name / "README.md").read_text().partition("\nExpected: an accuracy ")[2]
    [bar] = re.findall(r"fails? below (0\.\d+)", expected)
    return float(bar)


def imports(name: str) -> str:
    """Returns the beginning of the example's script, up to its last import, and what PyTorch would import later."""
    script = EXAMPLES / name / "train.py"
    statements = ast.parse(script.read_text()).body
    last = max(n for n, statement in enumerate(statements) if isinstance(statement, ast.Import | ast.ImportFrom))
    beginning = ast.unparse(ast.Module(statements[: last + 1], []))
    return f"{beginning}\nimport sys\nif 'torch' in sys.modules:\n    import {LATER_IN_TORCH}"
