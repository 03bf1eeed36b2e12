"""Polls many series within a rate budget, and publishes what comes.

One thread decides, publishes and keeps the books; workers only call the source. Nothing here
waits for one series: a failed call is planned again for later, the others go on.
"""

import heapq
import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Final

from conf.errors import (
    BrokerUnavailable,
    ConfigurationError,
    NotOffered,
    RateLimited,
    RetryLater,
)
from ingest.budget import RateBudget
from ingest.clock import Clock
from ingest.feed import Digest, Feed, Request
from ingest.metrics import IngestMetrics
from ingest.publish import Publisher, Record
from ingest.retry import source_backoff_s, until_broker_answers
from ingest.workers import Workers

log = logging.getLogger(__name__)

# A minute's bars go to Kafka as one group; who is later than this goes with the next.
GATHER_S: Final = 1.0
# How long a wait for answers may keep a due poll or a stop waiting.
SLICE_S: Final = 0.1


@dataclass(slots=True)
class Poll:
    """One round of polling: the feeds that were due together, and what came of them."""

    started_ms: int
    pending: set[str] = field(default_factory=set)
    symbols: int = 0
    bars: int = 0
    articles: int = 0
    revised: int = 0
    rejected: int = 0
    errors: int = 0
    calls: int = 0


@dataclass(slots=True)
class Task:
    """One feed in one poll: the page it asks for, and how often that has failed."""

    feed: Feed
    poll: Poll
    request: Request
    attempt: int = 1


class Poller:
    """Drives `feeds` until `stopping` is set.

    `attempts` is how often a page is asked for in one poll before the next poll has to try.
    `report` is told of bars that need not be asked for any more, for a progress bar.
    """

    def __init__(
        self,
        feeds: Sequence[Feed],
        publisher: Publisher,
        *,
        clock: Clock,
        budget: RateBudget,
        metrics: IngestMetrics,
        stopping: threading.Event,
        workers: int = 8,
        attempts: int = 5,
        report: Callable[[int], None] = lambda bars: None,
    ) -> None:
        self._feeds = list(feeds)
        self._publisher = publisher
        self._clock = clock
        self._budget = budget
        self._metrics = metrics
        self._stopping = stopping
        self._workers = workers
        self._attempts = attempts
        self._report = report
        self._order = count()
        self._due: list[tuple[int, int, Feed]] = []
        self._ready: list[tuple[int, int, Task]] = []
        self._in_flight = 0
        self._arrived: list[tuple[Task, object]] = []
        self._arrived_since_ms = 0

    def run(self, until_ms: int | None = None) -> None:
        """Poll at once and then at each slot; return on a stop, or when all is done that is due.

        `until_ms` (epoch ms): begin no poll after that. Raises where a
        person has to act, or no symbol is left.
        """
        self._due = [(self._clock.now_ms(), next(self._order), feed) for feed in self._feeds]
        heapq.heapify(self._due)
        with Workers[Task](self._workers) as workers:
            while not self._stopping.is_set():
                now_ms = self._clock.now_ms()
                self._begin_polls(now_ms)
                wait_s = self._submit(workers, now_ms)
                if self._in_flight:
                    self._receive(workers.take(min(wait_s, SLICE_S)))
                if self._arrived and self._gathered():
                    self._publish_arrived()
                elif not self._in_flight:
                    next_ms = self._next_event_ms(wait_s)
                    if until_ms is not None and not self._ready and next_ms > until_ms:
                        break
                    self._clock.sleep((next_ms - self._clock.now_ms()) / 1000)
            self._publish_arrived()

    def _begin_polls(self, now_ms: int) -> None:
        due: list[Feed] = []
        while self._due and self._due[0][0] <= now_ms:
            due.append(heapq.heappop(self._due)[2])
        poll = Poll(now_ms, {feed.name for feed in due}, len(due))
        for feed in due:
            feed.begin(now_ms)
            self._next_page(feed, poll, now_ms)

    def _next_page(self, feed: Feed, poll: Poll, now_ms: int) -> None:
        request = feed.next_request(now_ms)
        if request is None:
            self._finish(feed, poll, now_ms)
        else:
            self._plan(Task(feed, poll, request), now_ms)

    def _plan(self, task: Task, at_ms: int) -> None:
        heapq.heappush(self._ready, (at_ms, next(self._order), task))

    def _submit(self, workers: Workers[Task], now_ms: int) -> float:
        """Hand out the calls that are due and within the budget; return seconds to the next."""
        while self._ready and self._ready[0][0] <= now_ms:
            if self._in_flight >= self._workers:
                return SLICE_S
            wait_s = self._budget.take(now_ms)
            if wait_s > 0:
                return wait_s
            task = heapq.heappop(self._ready)[2]
            task.poll.calls += 1
            self._in_flight += 1
            workers.submit(task, task.request.call)
        if not self._ready:
            return SLICE_S
        return max(0.0, self._ready[0][0] - now_ms) / 1000

    def _receive(self, results: Sequence[tuple[Task, object]]) -> None:
        for task, result in results:
            self._in_flight -= 1
            if isinstance(result, Exception):
                self._failed(task, result)
                continue
            if not self._arrived:
                self._arrived_since_ms = self._clock.now_ms()
            self._arrived.append((task, result))

    def _failed(self, task: Task, error: Exception) -> None:
        """Plan the page again, leave it to the next poll, drop the feed, or end the program."""
        now_ms = self._clock.now_ms()
        task.poll.errors += 1
        self._count_error(error)
        if isinstance(error, NotOffered):
            self._drop(task, error, now_ms)
        elif not isinstance(error, RetryLater):
            raise error
        elif task.attempt >= self._attempts:
            self._give_up(task, error, now_ms)
        else:
            wait_s = max(source_backoff_s(task.attempt), error.retry_after_s or 0.0)
            log.warning(
                "event=call_failed feed=%r attempt=%d kind=%s wait_s=%.1f reason=%r",
                *(task.feed.name, task.attempt, type(error).__name__, wait_s, str(error)),
            )
            at_ms = now_ms + int(wait_s * 1000)
            if isinstance(error, RateLimited):
                self._budget.pause(at_ms)
            task.attempt += 1
            self._plan(task, at_ms)

    def _give_up(self, task: Task, error: RetryLater, now_ms: int) -> None:
        log.error(
            "event=gave_up feed=%r attempts=%d kind=%s reason=%r: the next poll asks again",
            *(task.feed.name, task.attempt, type(error).__name__, str(error)),
        )
        if isinstance(error, RateLimited) and error.retry_after_s:
            self._budget.pause(now_ms + int(error.retry_after_s * 1000))
        if task.feed.give_up(task.request):
            self._next_page(task.feed, task.poll, now_ms)
        else:
            self._finish(task.feed, task.poll, now_ms)

    def _drop(self, task: Task, error: NotOffered, now_ms: int) -> None:
        log.error("event=not_offered feed=%r reason=%r: left out", task.feed.name, str(error))
        self._feeds.remove(task.feed)
        if not self._feeds:
            raise ConfigurationError(f"ingest.symbols: the source offers none of them: {error}")
        self._close(task.feed, task.poll, now_ms)

    def _gathered(self) -> bool:
        now_ms = self._clock.now_ms()
        if now_ms - self._arrived_since_ms >= GATHER_S * 1000:
            return True
        return not self._in_flight and not (self._ready and self._ready[0][0] <= now_ms)

    def _publish_arrived(self) -> None:
        """Publish what the answers hold.

        1. sort the answers
        2. send all their records as one group, and wait for every acknowledgement
        3. only then move the cursors
        4. plan the next pages
        """
        arrived, self._arrived = self._arrived, []
        now_ms = self._clock.now_ms()
        digests = [(t, t.feed.digest(t.request, answer, now_ms)) for t, answer in arrived]  # 1
        records = [record for _, digest in digests for record in digest.records]
        if records and not self._send(records):  # 2
            return
        for task, digest in digests:
            task.feed.settle(digest)  # 3
            self._count(task.feed, task.poll, digest)
        for task, _ in digests:
            self._next_page(task.feed, task.poll, self._clock.now_ms())  # 4

    def _send(self, records: list[Record]) -> bool:
        """Send until the broker has everything; False where the program is stopped before."""
        retrying = until_broker_answers(self._clock, self._stopping, self._count_error)
        try:
            retrying(self._publisher.send, records)
        except BrokerUnavailable as error:
            log.error(
                "event=stopped_unsent records=%d reason=%r: the next start fetches them again",
                *(len(records), str(error)),
            )
            return False
        return True

    def _count_error(self, error: BaseException) -> None:
        self._metrics.errors.labels(kind=type(error).__name__).inc()

    def _count(self, feed: Feed, poll: Poll, digest: Digest) -> None:
        new = len(digest.published) - digest.revised
        if feed.kind == "bars":
            poll.bars += new
            self._metrics.published.inc(new)
            self._metrics.revised.inc(digest.revised)
        else:
            poll.articles += new
            self._metrics.articles.inc(new)
        poll.revised += digest.revised
        poll.rejected += len(digest.rejected)
        for reason in digest.rejected:
            self._metrics.rejected.labels(kind=feed.kind, reason=reason).inc()
        self._report(digest.answered)

    def _finish(self, feed: Feed, poll: Poll, now_ms: int) -> None:
        feed.end(now_ms)
        heapq.heappush(self._due, (feed.next_poll_ms(now_ms), next(self._order), feed))
        self._close(feed, poll, now_ms)

    def _close(self, feed: Feed, poll: Poll, now_ms: int) -> None:
        poll.pending.discard(feed.name)
        if poll.pending:
            return
        self._tell(poll, now_ms)

    def _tell(self, poll: Poll, now_ms: int) -> None:
        """One line to the log, and the gauges."""
        closes = [close for f in self._feeds if (close := f.newest_close_ms()) is not None]
        behind_s = (now_ms - min(closes)) / 1000 if closes else 0.0
        late_s = (now_ms - max(closes)) / 1000 if closes else 0.0
        gaps = sum(f.gaps() for f in self._feeds)
        self._metrics.gaps.set(gaps)
        self._metrics.behind_s.set(behind_s)
        self._metrics.poll_s.set((now_ms - poll.started_ms) / 1000)
        for window, left in self._budget.left.items():
            self._metrics.budget.labels(window=window).set(left)
        log.info(
            "event=poll symbols=%d bars=%d articles=%d revised=%d rejected=%d gaps=%d late_s=%.1f"
            " behind_s=%.1f calls=%d errors=%d took_s=%.1f",
            *(poll.symbols, poll.bars, poll.articles, poll.revised, poll.rejected, gaps, late_s),
            *(behind_s, poll.calls, poll.errors, (now_ms - poll.started_ms) / 1000),
        )

    def _next_event_ms(self, wait_s: float) -> int:
        now_ms = self._clock.now_ms()
        planned = [now_ms + int(wait_s * 1000) + 1] if self._ready else []
        return min(planned + [at for at, _, _ in self._due[:1]], default=now_ms + 1000)
