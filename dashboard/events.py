"""New predictions as server-sent events."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Final

from dashboard.newest import NewestMessages
from dashboard.records import Row

# A listener that can't keep up loses the oldest of what it has not read.
QUEUE: Final = 1_000
# Proxies and browsers give up on a silent connection; a comment keeps it open.
HEARTBEAT_S: Final = 15.0


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
