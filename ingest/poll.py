"""Polls many series within a rate budget, and publishes what they find.

One thread decides, publishes and keeps the books; the calls of the source are made on others.
Nothing here waits for one series: a failed call is planned again for later, the others go on.
Plans are times of the monotonic clock (ms); the wall clock is asked at each poll, and not while
somebody sets it.
"""

import heapq
import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from queue import Empty
from typing import Any, Final

from conf.errors import NotOffered, RateLimited, RetryLater
from conf.events import event
from conf.sections import Ingest
from ingest.budget import RateBudget
from ingest.calls import SLICE_S, Calls, Poll
from ingest.clock import Clock, StepWatch, backoff_s, until_broker_answers
from ingest.feed import Feed, Findings
from ingest.live import Live, LiveFeed
from ingest.metrics import IngestMetrics
from ingest.publish import Publisher
from ingest.refusals import Refusals
from ingest.rounds import Books, Round
from ingest.sources import Closed, Cut

log = logging.getLogger(__name__)

# A minute's bars go to Kafka as one group; those that come later than this make the next one.
GATHER_S: Final = 1.0
# So do those that are heard within this time of one another: a group is one micro-batch.
QUIET_S: Final = 0.03
# How often the clock is looked at while nothing is asked because of it.
HELD_S: Final = 1.0
# The longest sleep: so late a step of the wall clock is seen.
LOOK_S: Final = 30.0


class Poller:
    """Drives `feeds` until the clock is stopping.

    Of those that are due together the first of `feeds` is asked first, and published first.

    `unanswered` has each feed whose last poll left something to the next one, and why. Of
    `settings` it needs `workers`, calls at the same time, and `attempts`, how often a call is made
    in one poll before the next poll has to try. `report` receives how many bars need not be asked
    for any more, for a progress bar.
    """

    def __init__(
        self,
        feeds: Sequence[Feed],
        publisher: Publisher,
        settings: Ingest,
        *,
        clock: Clock,
        budget: RateBudget,
        metrics: IngestMetrics,
        report: Callable[[int], None] = lambda bars: None,
        live: Live | None = None,
    ) -> None:
        self._feeds = list(feeds)
        self._publisher = publisher
        self._settings = settings
        self._clock = clock
        self._budget = budget
        self._metrics = metrics
        self._report = report
        self._watch = StepWatch(clock)
        self._stepped = False
        self._rank = {feed: rank for rank, feed in enumerate(self._feeds)}
        self._due: list[tuple[int, int, Feed]] = []
        self._calls = Calls(budget, settings.workers)
        self._live = live
        # Those that something was heard for; True where it is new.
        self._heard: dict[LiveFeed, bool] = {}
        self._found: list[tuple[Poll, Findings]] = []
        self._found_since_ms = 0
        self._refusals = Refusals(self._feeds)
        self._books = Books(self._feeds, clock, metrics)
        self.unanswered: dict[str, str] = {}

    def run(self, until_ms: int | None = None) -> None:
        """Poll at once and then when due; return on a stop, or when all is done that is due.

        `until_ms` (epoch ms): begin no poll after that. Raises ConfigurationError where a person
        has to act, or no symbol is left; BrokerUnavailable on a stop while the broker is away.
        """
        now_ms = self._clock.monotonic_ms()
        last_ms = None if until_ms is None else now_ms + until_ms - self._clock.now_ms()
        self._all_due(now_ms)
        if self._live is not None:
            self._live.start(self._calls.answers.put)
        while not self._clock.stopping.is_set():
            now_ms = self._clock.monotonic_ms()
            self._look_at_clock(now_ms)
            wait_s = HELD_S
            if not self._stepped:
                self._begin_polls(now_ms)
                wait_s = self._calls.make(now_ms, self._books.called)
            if self._live is not None:
                self._live.look()
            if self._calls.under_way:
                self._receive(min(wait_s, SLICE_S))
            self._publish_heard()
            if self._found and self._gathered():
                self._publish()
            elif not self._calls.under_way:
                if last_ms is not None and self._done(last_ms):
                    break
                self._books.behind(self._refusals.left_out)
                self._idle(min(LOOK_S, self._until_next_s(wait_s)))
                self._publish_heard()

    def _done(self, last_ms: int) -> bool:
        return not self._calls.planned and not (self._due and self._due[0][0] <= last_ms)

    def _all_due(self, now_ms: int) -> None:
        self._due = [(now_ms, rank, feed) for feed, rank in self._rank.items()]

    def _look_at_clock(self, now_ms: int) -> None:
        """Poll nothing while the wall clock is being set; then everything that waits, at once."""
        seen = self._watch.look()
        if seen == "stepped" and not self._stepped:
            self._metrics.clock_steps.inc()
        if seen == "settled":
            left_out = self._refusals.left_out
            self._due = [(at if f in left_out else now_ms, n, f) for at, n, f in self._due]
            heapq.heapify(self._due)
        self._stepped = seen == "stepped"

    def _begin_polls(self, now_ms: int) -> None:
        due = []
        while self._due and self._due[0][0] <= now_ms:
            due.append(heapq.heappop(self._due)[2])
        together = Round(now_ms, symbols=len(due), pending=len(due))
        for feed in due:
            self.unanswered.pop(feed.name, None)
            self._go_on(Poll(feed, together, feed.poll(self._clock)), None)

    def _go_on(self, poll: Poll, answer: object) -> None:
        """Take the poll's next step: it asks for a call, has findings, or is done."""
        now_ms = self._clock.monotonic_ms()
        try:
            step = poll.steps.send(answer)
        except StopIteration:
            wall_ms = self._clock.now_ms()
            self._end(poll, now_ms + poll.feed.next_poll_ms(wall_ms) - wall_ms)
            return
        if isinstance(step, Findings):
            if not self._found:
                self._found_since_ms = now_ms
            self._found.append((poll, step))
        else:
            poll.call, poll.attempt = step, 1
            self._calls.plan(poll, now_ms)

    def _receive(self, timeout_s: float) -> None:
        """Take the answers that are there; wait up to `timeout_s` for the first."""
        with suppress(Empty):
            self._take(self._calls.answers.get(timeout=timeout_s))
            while True:
                self._take(self._calls.answers.get_nowait())

    def _idle(self, seconds: float) -> None:
        """Wait while no call is under way, for what is heard if anything may be."""
        if self._live is None:
            self._clock.sleep(seconds)
        elif (first := self._clock.wait(self._calls.answers, seconds)) is not None:
            self._take(first)
            self._receive(0)

    def _take(self, came: tuple[Poll, object] | Closed | Cut) -> None:
        if isinstance(came, Closed | Cut):
            self._hear(came)
            return
        poll, answer = came
        self._calls.under_way -= 1
        if isinstance(answer, Exception):
            self._failed(poll, answer)
        elif self._watch.look() == "stepped":
            # What is closed, and when it was fetched, nobody knows now.
            self._calls.plan(poll, self._clock.monotonic_ms())
        else:
            self._refusals.answered(poll.feed)
            self._go_on(poll, answer)

    def _hear(self, came: Closed | Cut) -> None:
        assert self._live is not None
        if isinstance(came, Cut):
            self._live.cut(*came)
        elif self._watch.look() != "stepped" and (feed := self._live.hear(*came)) is not None:
            self._heard[feed] = True

    def _publish_heard(self) -> None:
        """Publish what was heard and nothing keeps back; ask now for what keeps the rest back."""
        if not self._heard:
            return
        until_ms = self._clock.monotonic_ms() + GATHER_S * 1000
        while self._clock.monotonic_ms() < until_ms and (
            came := self._clock.wait(self._calls.answers, QUIET_S)
        ):
            self._take(came)
        while self._found:
            self._publish()  # what a poll found may be the same bars
        heard, self._heard = self._heard, {}
        in_order = sorted(heard, key=lambda feed: self._rank[feed])
        ready = {feed: bars for feed in in_order if (bars := feed.ready())}
        records = [record for feed, bars in ready.items() for record in feed.records(bars)]
        if records:
            send = partial(self._publisher.send, records)
            until_broker_answers(send, self._clock, self._broker_is_away)
            for feed, bars in ready.items():
                feed.published(bars)
                self._books.heard(bars)
        waiting = {f for f, new in heard.items() if new and f.waits} - set(self._refusals.left_out)
        if waiting:
            now_ms = self._clock.monotonic_ms()
            self._due = [(now_ms if f in waiting else at, n, f) for at, n, f in self._due]
            heapq.heapify(self._due)

    def _failed(self, poll: Poll, error: Exception) -> None:
        """Plan the call again, leave it to the next poll, leave the feed out, or end."""
        now_ms = self._clock.monotonic_ms()
        self._books.failed(error, poll.round)
        if isinstance(error, NotOffered):
            self.unanswered[poll.feed.name] = str(error)
            self._end(poll, now_ms + self._refusals.leave_out(poll.feed, error))
            return
        if not self._refusals.passes(error, now_ms):
            raise error
        last = poll.attempt >= self._settings.attempts
        asked_s = error.retry_after_s if isinstance(error, RetryLater) else None
        wait_s = max(0.0 if last else backoff_s(poll.attempt), asked_s or 0.0)
        at_ms = now_ms + int(wait_s * 1000)
        if isinstance(error, RateLimited):
            self._budget.pause(at_ms)
        name, level = ("gave_up", logging.ERROR) if last else ("call_failed", logging.WARNING)
        about: dict[str, Any] = {"feed": poll.feed.name, "kind": type(error).__name__}
        event(log, name, level=level, attempt=poll.attempt, wait_s=wait_s, reason=error, **about)
        if last:
            self._books.gave_up(poll.round)
            self.unanswered[poll.feed.name] = str(error)
            self._go_on(poll, None)  # the next poll asks again
        else:
            poll.attempt += 1
            self._calls.plan(poll, at_ms)

    def _end(self, poll: Poll, next_ms: int) -> None:
        if isinstance(poll.feed, LiveFeed) and poll.feed.waits:
            self._heard.setdefault(poll.feed, False)
        heapq.heappush(self._due, (next_ms, self._rank[poll.feed], poll.feed))
        self._books.finish(poll.round, self._budget, self._refusals.left_out)

    def _gathered(self) -> bool:
        now_ms = self._clock.monotonic_ms()
        if now_ms - self._found_since_ms >= GATHER_S * 1000:
            return True
        return not self._calls.under_way and not self._calls.due(now_ms)

    def _publish(self) -> None:
        """Send all findings as one group; only once all is acknowledged the polls go on."""
        found, self._found = sorted(self._found, key=lambda one: self._rank[one[0].feed]), []
        records = [record for _, findings in found for record in findings.records]
        if records:
            send = partial(self._publisher.send, records)
            until_broker_answers(send, self._clock, self._broker_is_away)
        for poll, findings in found:
            self._books.found(poll.round, poll.feed, findings)
            self._report(findings.answered)
            self._go_on(poll, None)

    def _broker_is_away(self, error: BaseException) -> None:
        self._books.failed(error)
        self._books.behind(self._refusals.left_out)

    def _until_next_s(self, wait_s: float) -> float:
        now_ms = self._clock.monotonic_ms()
        planned = [now_ms + int(wait_s * 1000) + 1] if self._calls.planned else []
        due = [] if self._stepped else [at for at, _, _ in self._due[:1]]
        looked = [] if self._live is None else self._live.looks_at()
        next_ms = min(planned + due + looked, default=now_ms + int(HELD_S * 1000))
        return (next_ms - now_ms) / 1000
