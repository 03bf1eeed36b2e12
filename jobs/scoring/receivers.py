"""Who is told of an alert: any service that Apprise knows, or a plain web address."""

import logging
import re
from typing import Final

import requests
from pydantic import SecretStr

from conf.address import is_address
from conf.events import event
from conf.sections import Alerts

log = logging.getLogger(__name__)

# The name of the text in the JSON that each form takes.
_TEXT: Final = {"slack": "text", "discord": "content", "telegram": "text"}
# For a connection, and for the answer.
TIMEOUT_S: Final = 4.0
_LINES: Final = 15
# What a receiver might take for markup or a mention stays out of a message.
_UNSAFE: Final = re.compile(r"[^\w .,:;%+/()-]")


def message(texts: list[str]) -> str:
    """One message of all, short enough for any receiver.

    >>> message(["no 1m prediction for 600 s"])
    'no 1m prediction for 600 s'
    >>> message(["a", "b <!channel>"])
    '2 alerts: a; b ??channel?'
    """
    lines = [_UNSAFE.sub("?", text) for text in texts]
    if len(lines) == 1:
        return lines[0]
    rest = f"; and {len(lines) - _LINES} more" if len(lines) > _LINES else ""
    return f"{len(lines)} alerts: {'; '.join(lines[:_LINES])}{rest}"


def send(text: str, url: SecretStr, bounds: Alerts) -> bool:
    """Send one message; whether it was taken. The URL is a secret, and appears in no log line."""
    import apprise

    logging.getLogger("apprise").disabled = True  # it writes URLs
    # The message goes where the URL says, and nowhere that an answer names.
    receivers = apprise.Apprise(asset=apprise.AppriseAsset(http_redirects=False))
    address, said = tidied(url.get_secret_value()), f"Candlecast: {text}"
    reason = "not taken"
    if receivers.add(address):
        taken = bool(receivers.notify(said))
    elif is_address(address):
        taken = _posted(address, content(said, bounds))
    else:
        taken, reason = False, "ALERT_WEBHOOK_URL is no URL that Apprise knows"
    if not taken:
        event(log, "alert_undelivered", level=logging.WARNING, reason=reason)
    return taken


def tidied(url: str) -> str:
    """A URL without what a copy of it may bring along.

    >>> tidied(" HTTPS://example.com/Hook\\n")
    'https://example.com/Hook'
    """
    scheme, sign, rest = url.strip().partition("://")
    return f"{scheme.lower()}{sign}{rest}"


def content(said: str, bounds: Alerts) -> dict[str, str]:
    """The JSON that a plain web address takes, in the form of `bounds`.

    >>> content("Candlecast: a", Alerts(form="telegram", telegram_chat_id="42"))
    {'chat_id': '42', 'text': 'Candlecast: a'}
    """
    to = {"chat_id": bounds.telegram_chat_id} if bounds.form == "telegram" else {}
    return {**to, _TEXT[bounds.form]: said}


def _posted(address: str, body: dict[str, str]) -> bool:
    """Whether the receiver took the JSON; the address is asked as it stands, query and all."""
    try:
        with requests.post(
            address, json=body, timeout=TIMEOUT_S, allow_redirects=False, stream=True
        ) as answer:
            return 200 <= answer.status_code < 300
    except (requests.RequestException, ValueError):
        return False
