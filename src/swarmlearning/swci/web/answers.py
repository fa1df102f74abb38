"""How failures are answered, in one form for all of the web mode, and how operations document them."""

from typing import Any

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel


class Failure(BaseModel):
    """The reason of a failure, for people."""

    detail: str


MEANINGS = {
    400: "The request is malformed, or its body is no JSON.",
    403: "The certificate is not one of an operator of this organisation, or is revoked.",
    404: "There is nothing of this name.",
    408: "The request has not arrived in time.",
    409: "The ledger, what stands on it, or a site does not allow this; or no context is in use.",
    413: "The body is too large.",
    422: "A value is missing, or is not what is expected.",
    503: "No SN of the network, or not the node asked, has answered; or too much is under way.",
}


def failures(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The part of an operation's description for these statuses, and for those that every operation may answer."""
    return {
        status: {"model": Failure, "description": MEANINGS[status]}
        for status in sorted({400, 403, 408, 413, 422, *statuses})
    }


def failure(status: int, detail: str) -> JSONResponse:
    """The answer to a request that has failed."""
    return JSONResponse({"detail": detail}, status)


async def malformed(_request: Request, error: Exception) -> JSONResponse:
    """The answer to a request that has another form than its operation's; without the values sent."""
    assert isinstance(error, RequestValidationError)
    found = error.errors()
    texts = [f"{'.'.join(map(str, each['loc'][:8]))}: {each['msg']}" for each in found[:5]]
    more = f"; and {len(found) - 5} more" if len(found) > 5 else ""
    return failure(422, "; ".join(texts)[:1000] + more)
