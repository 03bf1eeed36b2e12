"""JSON over HTTP, with every way it can fail turned into one of our errors."""

import json
import logging
from collections.abc import Callable, Mapping
from email.utils import parsedate_to_datetime
from typing import Any, Final

import requests

from conf.errors import ConfigurationError, RateLimited, SourceUnavailable
from ingest.clock import monotonic_s

log = logging.getLogger(__name__)

CHUNK_BYTES: Final = 65_536
# The largest answer known, 2,000 bars, is about half a megabyte.
MAX_BODY_BYTES: Final = 32_000_000


class JsonClient:
    """Gets JSON from one host within `timeout_s` an answer, however slowly it drips.

    `headers` hold the key: they are sent, and never written into a message or a log. Every error
    of `requests` leaves as SourceUnavailable; its text is not kept, as it may quote the request.
    `count_call` is told of each request that goes out.
    """

    def __init__(
        self,
        base_url: str,
        *,
        headers: Mapping[str, str] | None = None,
        timeout_s: float = 8.0,
        count_call: Callable[[], None] = lambda: None,
    ) -> None:
        self._base_url = base_url.rstrip("/")
        self._headers = {"Accept": "application/json", **(headers or {})}
        self._timeout_s = timeout_s
        self._count_call = count_call
        self._session = requests.Session()

    def get(self, path: str, params: Mapping[str, str | int]) -> tuple[int, Mapping[str, str], Any]:
        """Ask for `path` and return status, headers and the decoded body.

        A body is decoded for every status: these APIs explain errors in it. Raises
        SourceUnavailable for no answer, a late, cut off or oversized one, or one that is no JSON.
        """
        self._count_call()
        where = f"{self._base_url}{path}"
        deadline = monotonic_s() + self._timeout_s
        try:
            with self._session.get(
                where,
                params=dict(params),
                headers=self._headers,
                timeout=self._timeout_s,
                stream=True,
                allow_redirects=False,  # the key goes to this host and to no other
            ) as response:
                body = self._body(response, deadline, where)
        except requests.RequestException as error:
            raise SourceUnavailable(f"{where} gave no answer: {type(error).__name__}") from None
        try:
            return response.status_code, response.headers, json.loads(body)
        except ValueError:
            status = response.status_code
            if status != 200:
                return status, response.headers, {}
            raise SourceUnavailable(
                f"{where} answered {len(body)} bytes that are no JSON"
            ) from None

    def close(self) -> None:
        """Give the connections back."""
        self._session.close()

    def _body(self, response: requests.Response, deadline: float, where: str) -> bytes:
        body = bytearray()
        for chunk in response.iter_content(CHUNK_BYTES):
            body += chunk
            if monotonic_s() > deadline:
                raise SourceUnavailable(f"{where} took longer than {self._timeout_s:g} s")
            if len(body) > MAX_BODY_BYTES:
                raise SourceUnavailable(f"{where} answered more than {MAX_BODY_BYTES} bytes")
        return bytes(body)


def refuse_status(
    status: int, headers: Mapping[str, str], message: str, *, now_ms: int, key_variable: str
) -> None:
    """Raise the error that an HTTP status stands for; return where it is no error.

    401 and 403 raise ConfigurationError naming `key_variable`, 429 RateLimited with the wait the
    server asks for, every other one from 300 on SourceUnavailable.

    >>> refuse_status(429, {"Retry-After": "7"}, "slow down", now_ms=0, key_variable="KEY")
    Traceback (most recent call last):
    conf.errors.RateLimited: HTTP 429: slow down
    """
    text = f"HTTP {status}: {message}" if message else f"HTTP {status}"
    if status < 300:
        return
    if status in (401, 403):
        raise ConfigurationError(
            f"the source refuses the key ({text}): set {key_variable} to a valid API key"
        )
    wait_s = retry_after_s(headers, now_ms)
    if status == 429:
        raise RateLimited(text, wait_s)
    raise SourceUnavailable(text, wait_s)


def retry_after_s(headers: Mapping[str, str], now_ms: int) -> float | None:
    """Seconds that `Retry-After` asks for, given as seconds or as a date; None without one.

    >>> retry_after_s({"Retry-After": "7"}, now_ms=0)
    7.0
    >>> retry_after_s({"Retry-After": "Thu, 01 Jan 1970 00:01:00 GMT"}, now_ms=15_000)
    45.0
    """
    value = headers.get("Retry-After", "").strip()
    if not value:
        return None
    try:
        return max(0.0, float(value))
    except ValueError:
        pass
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - now_ms / 1000)
    except (ValueError, TypeError):
        log.debug("event=retry_after_unread value=%r", value)
        return None
