"""News for open pages, as server-sent events: which topics have changed. The pages then fetch themselves anew."""

from collections.abc import AsyncGenerator, AsyncIterator
from typing import Annotated, Final

import msgspec
from fastapi import FastAPI, Query
from starlette.responses import Response, StreamingResponse

from swarmlearning.ui.network.news import TOPICS, News, TooManyError, Topic
from swarmlearning.ui.security.admission import Denied
from swarmlearning.ui.site import Here, Visit

BEAT_SECONDS: Final = 15.0
"""Between two signs of life; at each it is looked whether the session still stands."""
RETRY_MS: Final = 2000


def add_events(app: FastAPI) -> None:
    """The stream of news."""

    @app.get("/events", response_class=Response, response_model=None)
    async def events(visit: Here, topics: Annotated[str, Query(max_length=200)] = "") -> Response:
        """Events `since`, with the count of news before the stream, `changed`, whose data are the topics (JSON), and
        `ended` when the session has ended."""
        wanted = {each for each in TOPICS if each in topics.split(",")} or set(TOPICS)
        stream = _events(visit, visit.feed.news, wanted)
        first = await anext(stream)  # raises before the answer begins
        return StreamingResponse(
            _with(first, stream), media_type="text/event-stream", headers={"x-accel-buffering": "no"}
        )


async def _with(first: str, rest: AsyncGenerator[str, None]) -> AsyncIterator[str]:
    try:
        yield first
        async for each in rest:
            yield each
    finally:
        await rest.aclose()


async def _events(visit: Visit, news: News, topics: set[Topic]) -> AsyncGenerator[str, None]:
    try:
        with news.subscribed(visit.user.name, topics) as subscriber:
            yield f"retry: {RETRY_MS}\nevent: since\ndata: {news.count}\n\n"
            while not news.closed:
                if changed := await subscriber.next(BEAT_SECONDS):
                    yield f"event: changed\ndata: {msgspec.json.encode(changed).decode()}\n\n"
                    continue
                if await visit.site.sessions.user(visit.admitted.session, active=False) is None:
                    yield "event: ended\ndata: {}\n\n"
                    return
                yield ": still there\n\n"
    except TooManyError:
        raise Denied(429, "errors.too-many-pages") from None
