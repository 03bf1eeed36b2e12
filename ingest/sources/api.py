"""JSON from a provider's API, with its key, and every failure as one of our errors."""

import json
import os
import time
from collections.abc import Collection, Mapping
from typing import Any, Final

import requests
import urllib3

from conf.errors import ConfigurationError, NotOffered, RateLimited, SourceUnavailable
from ingest.sources import SourceOptions

CHUNK_BYTES: Final = 65_536
# The largest answer known, 2,000 bars, is about half a megabyte.
MAX_BODY_BYTES: Final = 32_000_000
# Values of `Type` in an error's body, which min-api mostly sends with HTTP 200.
TYPE_KEY: Final = 1
TYPE_PARAMETER: Final = 2
TYPE_RATE_LIMIT: Final = 99


class Api:
    """The API of the provider `name`, asked with the key in the variable `{NAME}_API_KEY`.

    An answer has `options.timeout_s`, however slowly it drips. The key goes to this host only, and
    neither it nor the text of an error of `requests`, which may quote it, goes into a message or a
    log. HTTP statuses in `not_offered` mean that the provider does not know the symbol.
    `key_header` is the header that holds the key, and what stands before it.
    """

    def __init__(
        self,
        name: str,
        base_url: str,
        options: SourceOptions,
        *,
        not_offered: Collection[int] = (),
        key_header: tuple[str, str] = ("Authorization", "Apikey "),
    ) -> None:
        self._base_url = (options.base_url or base_url).rstrip("/")
        self._options = options
        self._not_offered = not_offered
        self._key_variable = f"{name.upper()}_API_KEY"
        self._session = requests.Session()
        self._session.headers["Accept"] = "application/json"
        if key := os.environ.get(self._key_variable):
            self._session.headers[key_header[0]] = key_header[1] + key

    def get(self, path: str, parameters: Mapping[str, str | int]) -> Any:
        """Ask once for `path` and return the decoded body of a success.

        The body of an error may say more than its HTTP status: `Response` or `Err` that it is one,
        `Type` which. Raises what `Source.fetch` may raise.
        """
        status, headers, body = self._answer(path, parameters)
        details = body if isinstance(body, dict) else {}
        problem = details.get("Err") or {}
        message = details.get("Message") or (isinstance(problem, dict) and problem.get("message"))
        failed = bool(problem) or details.get("Response") == "Error"
        kind = details.get("Type") if failed else None
        text = f"{path}: HTTP {status}: {message or 'no message'}"
        wait_s = retry_after_s(headers)
        if status in (401, 403) or kind == TYPE_KEY:
            raise ConfigurationError(
                f"the source refuses the key ({text}): set {self._key_variable} to a valid API key"
            )
        if status == 429 or kind == TYPE_RATE_LIMIT:
            cooldown = details.get("Cooldown")
            raise RateLimited(text, cooldown if isinstance(cooldown, int | float) else wait_s)
        if status in self._not_offered or kind == TYPE_PARAMETER:
            raise NotOffered(f"{text} {details.get('ParamWithError', '')}".strip())
        if status >= 300 or failed:
            raise SourceUnavailable(text, wait_s)
        return body

    def rows(self, path: str, parameters: Mapping[str, str | int]) -> list[Any]:
        """The list in the answer for `path`: under `Data`, or under `Data.Data`.

        Raises what `get` raises, and SourceUnavailable where there is no list.
        """
        body = self.get(path, parameters)
        data = body.get("Data") if isinstance(body, dict) else None
        rows = data.get("Data") if isinstance(data, dict) else data
        if not isinstance(rows, list):
            raise SourceUnavailable(f"{path} is a success without a list under Data")
        return rows

    def _answer(
        self, path: str, parameters: Mapping[str, str | int]
    ) -> tuple[int, Mapping[str, str], Any]:
        where = f"{self._base_url}{path}"
        deadline_s = time.monotonic() + self._options.timeout_s
        try:
            with self._session.get(
                where,
                params=dict(parameters),
                timeout=self._options.timeout_s,
                stream=True,
                allow_redirects=False,  # the key goes to this host and to no other
            ) as response:
                body = self._body(response, deadline_s, where)
        except (requests.RequestException, urllib3.exceptions.HTTPError) as error:
            raise SourceUnavailable(f"{where} gave no answer: {type(error).__name__}") from None
        try:
            return response.status_code, response.headers, json.loads(body)
        except ValueError:
            if response.status_code != 200:
                return response.status_code, response.headers, {}
            raise SourceUnavailable(f"{where} answered {len(body)} bytes, not JSON") from None

    def _body(self, response: requests.Response, deadline_s: float, where: str) -> bytes:
        body = bytearray()
        # What is there, not a full chunk: a drip would keep the deadline from being looked at.
        while chunk := response.raw.read1(CHUNK_BYTES, decode_content=True):
            body += chunk
            if time.monotonic() > deadline_s:
                raise SourceUnavailable(f"{where} took longer than {self._options.timeout_s:g} s")
            if len(body) > MAX_BODY_BYTES:
                raise SourceUnavailable(f"{where} answered more than {MAX_BODY_BYTES} bytes")
        return bytes(body)


def retry_after_s(headers: Mapping[str, str]) -> float | None:
    """Seconds that `Retry-After` asks for, given as seconds or as a date; None without one.

    >>> retry_after_s({"Retry-After": "7"}), retry_after_s({"Retry-After": "soon"})
    (7.0, None)
    >>> retry_after_s({"Retry-After": "Thu, 01 Jan 1970 00:01:00 GMT"})
    0.0
    """
    try:
        return float(urllib3.Retry().parse_retry_after(headers["Retry-After"]))
    except (KeyError, ValueError, TypeError, urllib3.exceptions.InvalidHeader):
        return None
