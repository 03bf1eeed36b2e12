"""Records that break a rule, as the topic `bars.rejected` keeps them."""

import base64
import json
from dataclasses import asdict

from ingest.bar import BAR_VERSION, Bar
from ingest.publish import Record


def rejection_record(topic: str, bar: Bar, reason: str, now_ms: int) -> Record:
    """The message that says why `bar` was not published.

    The same fields as the stream's own rejections; topic, partition and offset are null, since
    the bar never was on one. The key names the bar, so that a second rejection is seen as one.
    """
    found = {"v": BAR_VERSION, **asdict(bar)}
    value = {
        "reason": reason,
        "topic": None,
        "partition": None,
        "offset": None,
        "value_base64": base64.b64encode(json.dumps(found).encode()).decode(),
        "source": bar.source,
        "rejected_at": now_ms,
    }
    key = f"{bar.source}:{bar.symbol}:{bar.interval}:{bar.open_time}"
    return Record(topic, key.encode(), json.dumps(value, separators=(",", ":")).encode())
