"""The metrics that a program of ours shows at the moment."""

import http.client
import urllib.request
from typing import Final

from prometheus_client.parser import text_string_to_metric_families

# What our own programs show is asked for directly, whatever proxy the environment names.
_DIRECT: Final = urllib.request.build_opener(urllib.request.ProxyHandler({}))
_MOST_BYTES: Final = 16_000_000

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def read_metrics(url: str, timeout_s: float = 0.5) -> Samples | None:
    """The samples that a metrics endpoint shows now, or None where nothing answers with samples."""
    try:
        with _DIRECT.open(url, timeout=timeout_s) as answer:
            text = answer.read(_MOST_BYTES).decode()
        families = list(text_string_to_metric_families(text))
    except (OSError, ValueError, http.client.HTTPException):
        return None
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in families
        for sample in family.samples
    }
