"""How long to wait after a failure: ever longer, and never in step with others."""

import logging
import threading
from collections.abc import Callable
from typing import Final

from tenacity import (
    RetryCallState,
    Retrying,
    retry_if_exception_type,
    stop_when_event_set,
    wait_exponential_jitter,
)

from conf.errors import BrokerUnavailable
from ingest.clock import Clock

log = logging.getLogger(__name__)

SOURCE_WAIT: Final = wait_exponential_jitter(initial=1, max=30, jitter=1)
BROKER_WAIT: Final = wait_exponential_jitter(initial=0.5, max=10, jitter=0.5)


def source_backoff_s(attempt: int) -> float:
    """Seconds to wait after a source's `attempt`-th failure in a row, with jitter.

    >>> 4 <= source_backoff_s(3) <= 5
    True
    """
    state = RetryCallState(Retrying(), fn=None, args=(), kwargs={})
    state.attempt_number = attempt
    return SOURCE_WAIT(state)


def until_broker_answers(
    clock: Clock,
    stopping: threading.Event,
    on_failure: Callable[[BaseException], None] = lambda error: None,
) -> Retrying:
    """What calls a function until Kafka is there, as `until_broker_answers(...)(function, ...)`.

    `on_failure` is told of each failure. Raises the last BrokerUnavailable once `stopping` is set.
    """

    def report(state: RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        if error is not None:
            on_failure(error)
            log.warning(
                "event=broker_unavailable attempt=%d reason=%r: bars wait",
                *(state.attempt_number, str(error)),
            )

    return Retrying(
        retry=retry_if_exception_type(BrokerUnavailable),
        wait=BROKER_WAIT,
        stop=stop_when_event_set(stopping),
        sleep=clock.sleep,
        before_sleep=report,
        reraise=True,
    )
