"""How a broken invariant is told."""


class Violation(AssertionError):
    """An invariant does not hold."""


def require(holds: bool, what: str) -> None:
    """Raises `Violation` with this text unless it holds."""
    if not holds:
        raise Violation(what)
