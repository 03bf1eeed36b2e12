"""Who is told of an alert: any service that Apprise knows, or a plain web address."""

import logging
import re
from typing import Final
from urllib.parse import quote

from pydantic import SecretStr

from conf.events import event
from conf.settings import Alerts

log = logging.getLogger(__name__)

# The name of the text in the JSON that each form takes; Apprise's own other fields are left out.
_TEXT: Final = {"slack": "text", "discord": "content", "telegram": "text"}
_LEFT_OUT: Final = "&:title=&:version=&:type=&:attachments="
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
    known = receivers.add(apprise_url(url.get_secret_value(), bounds))
    taken = bool(receivers.notify(f"Candlecast: {text}")) if known else False
    if not taken:
        reason = "not taken" if known else "ALERT_WEBHOOK_URL is no URL that Apprise knows"
        event(log, "alert_undelivered", level=logging.WARNING, reason=reason)
    return taken


def apprise_url(url: str, bounds: Alerts) -> str:
    """The receiver as Apprise names it; a plain web address takes JSON in the form of `bounds`.

    >>> apprise_url("mailto://me:secret@example.com", Alerts())
    'mailto://me:secret@example.com'
    >>> apprise_url("https://example.com/hook", Alerts())[:38]
    'jsons://example.com/hook?:message=text'
    """
    import apprise

    scheme, _, address = url.partition("://")
    if scheme not in ("http", "https") or apprise.Apprise.instantiate(url) is not None:
        return url
    form = f":message={_TEXT[bounds.form]}{_LEFT_OUT}"
    if bounds.form == "telegram":
        form += f"&:chat_id={quote(bounds.telegram_chat_id)}"
    return f"json{scheme[4:]}://{address}{'&' if '?' in address else '?'}{form}"
