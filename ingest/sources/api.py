"""JSON from a provider's API, with its key, and every failure as one of our errors."""

import json
import os
import re
import time
from collections.abc import Collection, Mapping
from typing import Any, Final, NamedTuple

import requests
import urllib3

from conf.errors import ConfigurationError, NotOffered, RateLimited, SourceUnavailable
from ingest.sources import SourceOptions
from ingest.sources.rows import number

CHUNK_BYTES: Final = 65_536
# The largest answer known, 2,000 bars, is about half a megabyte.
MAX_BODY_BYTES: Final = 32_000_000
# The deepest answer known has five lists and objects in each other. What is nested by the thousand
# can be read, and not be shown, since Python counts the calls that do so.
MAX_DEPTH: Final = 50
# `Type` in an error's body, which min-api mostly sends with HTTP 200: 99 is the rate limit; 1 and 2
# are a key, a market or any parameter, so there the words decide.
TYPE_RATE_LIMIT: Final = 99
# Parameters that name the symbol, of both APIs; and words that say the same.
SYMBOL_PARAMETERS: Final = ("fsym", "tsym", "instrument", "instruments", "market")
NO_SYMBOL: Final = re.compile(r"market does not exist|no data for the symbol", re.I)
ABOUT_KEY: Final = re.compile(r"\bkey\b|auth|permission|subscri|\bplan\b", re.I)
WORDS_CHARACTERS: Final = 300
# The longest that a provider may make us wait: its limits are of a day or shorter, or of a month.
LONGEST_PAUSE_S: Final = 86_400.0


class Api:
    """The API of the provider `name`, asked with the key in the variable `{NAME}_API_KEY`.

    An answer has `options.timeout_s`, however slowly it drips. The key goes to this host only, and
    neither it nor the text of an error of `requests`, which may quote it, goes into a message or a
    log. HTTP statuses in `not_offered` mean that the provider does not know the symbol.
    `key_header` is the header that holds the key, and what stands before it. Raises
    ConfigurationError where the key can't be sent.
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
        if key := os.environ.get(self._key_variable, "").strip():
            if not key.isascii() or not key.isprintable():
                raise ConfigurationError(
                    f"{self._key_variable} holds what no key holds: set it anew"
                )
            self._session.headers[key_header[0]] = key_header[1] + key

    def get(self, path: str, parameters: Mapping[str, str | int]) -> Any:
        """Ask once for `path` and return the decoded body of a success.

        The body of an error may say more than its HTTP status: `Response` or `Err` that it is one,
        `Type` or its words which. Only the API's own words mean a wrong key or an unknown symbol: a
        page of what stands before it passes. Raises what `Source.fetch` may raise.
        """
        status, headers, body = self._answer(path, parameters)
        if (said := problem_in(body)) is None and status < 300:
            return body
        words, kind, parameter = said or Problem("", None, None)
        own = isinstance(body, dict) and bool(body)
        text = f"{path}: HTTP {status}: {words or 'no message'}"
        if status == 429 or kind == TYPE_RATE_LIMIT:
            cooldown_s = seconds(body.get("Cooldown")) if own else None
            raise RateLimited(text, cooldown_s or retry_after_s(headers))
        named = parameter in SYMBOL_PARAMETERS or NO_SYMBOL.search(words)
        denied = status in self._not_offered and own and parameter is None
        if denied or (named and (status < 300 or status in self._not_offered)):
            raise NotOffered(f"{text} {parameter or ''}".strip())
        about_key = ABOUT_KEY.search(words if said else str(body))
        certain = status == 401 or (status == 403 and (said or about_key))
        if (own and certain) or (status < 300 and about_key):
            raise ConfigurationError(
                f"the source refuses the key ({text}): set {self._key_variable} to a valid API key"
            )
        if status in (401, 403):
            text += f" (not in the API's own words; if it stays so, look at {self._key_variable})"
        raise SourceUnavailable(text, retry_after_s(headers))

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
            return response.status_code, response.headers, read_json(body)
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


def read_json(body: bytes) -> Any:
    """What a body says; raises ValueError where it is no JSON, or deeper than `MAX_DEPTH`.

    >>> read_json(b'{"Data": [{"time": 60}]}')
    {'Data': [{'time': 60}]}
    """
    try:
        found = json.loads(body)
    except RecursionError as error:
        raise ValueError("too deep") from error
    level = [found]
    for _ in range(MAX_DEPTH):
        held = [one.values() if isinstance(one, dict) else one for one in level if _holds(one)]
        level = [value for values in held for value in values]
    if any(map(_holds, level)):
        raise ValueError("too deep")
    return found


def _holds(value: object) -> bool:
    return isinstance(value, dict | list)


class Problem(NamedTuple):
    """What an API says of a failure: its words, the kind (min-api), and the wrong parameter."""

    words: str
    kind: object
    parameter: object


def problem_in(body: object) -> Problem | None:
    """The failure that a body reports, of min-api or the Data API; None for a success.

    >>> problem_in({"Response": "Error", "Message": "no", "Type": 2, "ParamWithError": "fsym"})
    Problem(words='no', kind=2, parameter='fsym')
    >>> problem_in({"Err": {"message": "no", "other_info": {"param": "to_ts"}}}).parameter
    'to_ts'
    """
    details = body if isinstance(body, dict) else {}
    problem = details.get("Err")
    if problem:
        inner = problem if isinstance(problem, dict) else {}
        about = inner.get("other_info")
        parameter = about.get("param") if isinstance(about, dict) else None
        return Problem(str(inner.get("message") or "")[:WORDS_CHARACTERS], None, parameter)
    if details.get("Response") == "Error":
        words = str(details.get("Message") or "")[:WORDS_CHARACTERS]
        return Problem(words, details.get("Type"), details.get("ParamWithError"))
    return None


def retry_after_s(headers: Mapping[str, str]) -> float | None:
    """Seconds that `Retry-After` asks for, given as seconds or as a date; None without one.

    >>> retry_after_s({"Retry-After": "7"}), retry_after_s({"Retry-After": "soon"})
    (7.0, None)
    >>> retry_after_s({"Retry-After": "Thu, 01 Jan 1970 00:01:00 GMT"})
    0.0
    """
    try:
        return seconds(urllib3.Retry().parse_retry_after(headers["Retry-After"]))
    except (KeyError, ValueError, TypeError, OverflowError, urllib3.exceptions.InvalidHeader):
        return None


def seconds(value: object) -> float | None:
    """A pause that makes sense, at most a day; None for what is none.

    >>> seconds(406), seconds(float("nan")), seconds(1e300), seconds("soon")
    (406.0, None, 86400.0, None)
    """
    pause_s = number(value)
    return min(pause_s, LONGEST_PAUSE_S) if pause_s >= 0 else None
