"""Times of a file as epoch milliseconds UTC, -1 where there is none."""

from itertools import product
from typing import Final

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

Times = NDArray[np.int64]

NO_TIME: Final = -1
# From this value on a number of seconds is one of milliseconds, micro-, nanoseconds. Seconds reach
# it in the year 5138, and milliseconds are past it since 1973.
_SECONDS_END: Final = 100_000_000_000
_PER_MS: Final = {"s": 1, "ms": 1, "us": 1_000, "ns": 1_000_000}
_NUMBER: Final = r"^\d+(\.\d*)?([eE]\+?\d+)?$"
_COMPACT: Final = r"^(19|20)\d\d(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])$"
_DATES: Final = (
    *("%Y-%m-%d", "%Y/%m/%d", "%Y.%m.%d", "%Y%m%d"),
    *("%m/%d/%Y", "%d/%m/%Y", "%m/%d/%y", "%d/%m/%y", "%m-%d-%Y", "%d-%m-%Y", "%d.%m.%Y"),
    *("%b %d, %Y", "%B %d, %Y", "%d %b %Y", "%d-%b-%Y"),
)
_CLOCKS: Final = (
    *("", " %H:%M", " %H:%M:%S", " %H:%M:%S.%f", " %H%M", " %H%M%S"),
    *(" %I:%M %p", " %I:%M:%S %p", " %I-%p"),
)
_FORMS: Final = ("ISO8601", *(date + clock for date, clock in product(_DATES, _CLOCKS)))
_SAMPLE: Final = 1_000


class Ambiguous(Exception):
    """Times that two forms read, each differently; the message shows one."""


def is_unix(texts: pa.Array) -> bool:
    """Whether most of the texts are numbers of seconds or smaller units."""
    numbers = pc.sum(pc.match_substring_regex(texts, _NUMBER)).as_py() or 0
    dates = pc.sum(pc.match_substring_regex(texts, _COMPACT)).as_py() or 0
    return bool(2 * (numbers - dates) > len(texts) - texts.null_count)


def unix_texts(texts: pa.Array) -> Times:
    """Unix times written as texts."""
    texts = pc.if_else(pc.match_substring_regex(texts, _NUMBER), texts, None)
    try:
        return unix_numbers(texts.cast(pa.int64()))
    except pa.ArrowInvalid:
        return unix_numbers(texts.cast(pa.float64()))


def unix_numbers(values: pa.Array) -> Times:
    """Unix times in s, ms, us or ns, each told apart by its size."""
    if not pa.types.is_floating(values.type):
        values = values.cast(pa.int64(), safe=False)  # what is too large for it becomes negative
    known = values.fill_null(NO_TIME).to_numpy(zero_copy_only=False)
    if known.dtype.kind == "f":
        whole = np.where(np.isfinite(known) & (known < 2**62), known, NO_TIME)
        # Fractions are of seconds alone; a float holds no more of the others.
        fraction = np.where(whole < _SECONDS_END, np.rint(whole % 1 * 1000), 0).astype(np.int64)
        return np.where(whole < 0, NO_TIME, _sized(whole.astype(np.int64)) + fraction)
    return _sized(known.astype(np.int64))


def _sized(values: Times) -> Times:
    bounds = [values < 0, *(values < _SECONDS_END * 1000**n for n in range(3))]
    sizes = [np.full_like(values, NO_TIME), values * 1000, values, values // 1_000]
    return np.asarray(np.select(bounds, sizes, values // 1_000_000), np.int64)


def stamps(values: pa.Array) -> Times:
    """Timestamps of Arrow, of any unit; one without a zone is UTC."""
    unit = values.type.unit
    numbers = values.cast(pa.int64()).fill_null(NO_TIME).to_numpy(zero_copy_only=False)
    scaled = numbers * 1000 if unit == "s" else numbers // _PER_MS[unit]
    return np.where(numbers < 0, NO_TIME, scaled)


def written_times(texts: pa.ChunkedArray) -> Times:
    """Times written as dates, in the form that reads most of them; without a zone they are UTC.

    Raises Ambiguous where two forms read as many and differ, such as day and month in 01/02/2021.
    """
    plain = pc.replace_substring_regex(texts, r"\s*(UTC|GMT)$", "")
    series = pd.Series(plain.to_numpy(), dtype=object)
    best = [_parsed(series, form) for form in _best(series.iloc[:: 1 + len(series) // _SAMPLE])]
    most = max((int(times.notna().sum()) for times in best), default=0)
    best = [times for times in best if times.notna().sum() == most]
    if not best:
        return np.full(len(series), NO_TIME)
    for other in best[1:]:
        if (differ := (other != best[0]) & other.notna()).any():
            raise Ambiguous(str(series[differ].iloc[0]))
    return _to_ms(best[0])


def _best(texts: "pd.Series[str]") -> list[str]:
    """The forms that read the most of the texts."""
    read = {form: int(_parsed(texts, form).notna().sum()) for form in _FORMS}
    most = max(read.values())
    return [form for form in _FORMS if most and read[form] == most]


def _parsed(texts: "pd.Series[str]", form: str) -> "pd.Series[pd.Timestamp]":
    return pd.to_datetime(texts, format=form, utc=True, errors="coerce")


def _to_ms(times: "pd.Series[pd.Timestamp]") -> Times:
    numbers = times.dt.as_unit("ms").astype("int64").to_numpy()
    return np.where(times.isna() | (numbers < 0), NO_TIME, numbers)
