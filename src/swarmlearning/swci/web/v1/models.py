"""The form of answers, for FastAPI's documentation and checks: derived from the structures of `views/`."""

from collections.abc import Sequence
from functools import cache
from types import UnionType
from typing import Any, Generic, TypeVar, Union, get_args, get_origin

import msgspec
from pydantic import BaseModel, create_model

T = TypeVar("T")


class Page(BaseModel, Generic[T]):
    """A part of a list, and the length of all of it."""

    items: list[T]
    total: int


def page_of(items: Sequence[Any], offset: int, limit: int) -> dict[str, Any]:
    """So many items from `offset` on; structures as JSON has them."""
    return {"items": msgspec.to_builtins(items[offset : offset + limit]), "total": len(items)}


@cache
def model_of(structure: type[msgspec.Struct], *, without: tuple[str, ...] = ()) -> Any:
    """The pydantic model with the fields of a structure, but for those in `without`."""
    fields: dict[str, Any] = {
        each.name: (_type(each.type), ... if each.required else each.default)
        for each in msgspec.structs.fields(structure)
        if each.name not in without
    }
    return create_model(structure.__name__, __doc__=structure.__doc__, **fields)


def _type(found: Any) -> Any:
    """The type of a field; structures inside it become models."""
    origin, arguments = get_origin(found), get_args(found)
    if isinstance(found, type) and issubclass(found, msgspec.Struct):
        return model_of(found)
    if origin is tuple:
        return list[_type(arguments[0])]  # type: ignore[misc]
    if origin in (Union, UnionType):
        return Union[tuple(_type(each) for each in arguments)]  # noqa: UP007 - made at run time
    return found
