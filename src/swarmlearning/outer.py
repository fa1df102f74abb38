"""An outer optimizer as users state it: its name, its learning rate and its momentum, the last two as decimals."""

from decimal import Decimal, InvalidOperation
from typing import Any, Final, get_args

from swarmlearning.choices import OuterMethod

METHODS: Final[tuple[OuterMethod, ...]] = get_args(OuterMethod)

DEFAULTS: Final[dict[OuterMethod, tuple[str, str]]] = {"nesterov": ("0.7", "0.9"), "adam": ("0.01", "0.9")}
"""Learning rate and momentum where none are given."""

_PLACES: Final = 6
_MOST_RATE: Final = 1000


def rate(value: Any) -> str:
    """A learning rate as it is written on the ledger. Raises `ValueError` with what it has to be."""
    number = _decimal(value)
    if number is None or not 0 < number < _MOST_RATE:
        raise ValueError(f"a decimal above 0 and below {_MOST_RATE}, with {_PLACES} places at most; it is {value}")
    return _written(number)


def momentum(value: Any) -> str:
    """A momentum as it is written on the ledger. Raises `ValueError` with what it has to be."""
    number = _decimal(value)
    if number is None or not 0 <= number < 1:
        raise ValueError(f"a decimal from 0 to below 1, with {_PLACES} places at most; it is {value}")
    return _written(number)


def _decimal(value: Any) -> Decimal | None:
    if isinstance(value, bool):
        return None
    try:
        number = Decimal(str(value))
        return number if number.is_finite() and number == round(number, _PLACES) else None
    except InvalidOperation:
        return None


def _written(number: Decimal) -> str:
    """The one way to write it: without zeros at the end."""
    text = f"{number:.{_PLACES}f}"
    return text.rstrip("0").rstrip(".")
