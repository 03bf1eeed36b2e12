"""New predictions as server-sent events."""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from typing import Final

from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from dashboard.newest import NewestMessages
from dashboard.records import Row

# A listener that can't keep up loses the oldest of what it has not read.
QUEUE: Final = 1_000
# What follows the reader of the topics at the same time.
MAX_LISTENERS: Final = 100
# Proxies and browsers give up on a silent connection; a comment keeps it open.
HEARTBEAT_S: Final = 15.0


class Listeners:
    """Who listens at the moment, by address; used in the server's loop alone, so that no two come
    in at the same place."""

    def __init__(self, per_client: int, most: int = MAX_LISTENERS) -> None:
        self._per_client, self._most = per_client, most
        self._counts: Counter[str] = Counter()

    def refusal(self, client: str) -> str | None:
        """Why a client may not listen now, or None."""
        if self._counts.total() >= self._most:
            return f"{self._most} listeners already"
        if self._counts[client] >= self._per_client:
            return f"{self._per_client} listeners of {client} already"
        return None

    @contextmanager
    def listening(self, client: str) -> Iterator[None]:
        """Count a client while the block runs."""
        self._counts[client] += 1
        try:
            yield
        finally:
            self._counts[client] -= 1
            if not self._counts[client]:
                del self._counts[client]


class EventResponse(StreamingResponse):
    """Predictions until the listener leaves; gives its place back however it ends."""

    def __init__(self, events: AsyncIterator[str], place: AbstractContextManager[None]) -> None:
        headers = {"Cache-Control": "no-store"}
        super().__init__(events, media_type="text/event-stream", headers=headers)
        self._place = ExitStack()
        self._place.enter_context(place)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer as ASGI has it."""
        with self._place:
            await super().__call__(scope, receive, send)


async def event_stream(newest: NewestMessages, symbol: str) -> AsyncIterator[str]:
    """One event a prediction, until the listener leaves."""
    loop = asyncio.get_running_loop()
    queue: asyncio.Queue[Row] = asyncio.Queue(QUEUE)

    def put(row: Row) -> None:
        if queue.full():
            queue.get_nowait()
        queue.put_nowait(row)

    def follow(row: Row) -> None:
        if not symbol or row["symbol"] == symbol:
            with suppress(RuntimeError):  # the server has ended meanwhile
                loop.call_soon_threadsafe(put, row)

    unfollow = newest.follow(follow)
    try:
        yield ": predictions as they come\n\n"
        while True:
            try:
                row = await asyncio.wait_for(queue.get(), HEARTBEAT_S)
                yield f"event: prediction\ndata: {json.dumps(row)}\n\n"
            except TimeoutError:
                yield ": still here\n\n"
    finally:
        unfollow()
