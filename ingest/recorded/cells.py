"""Numbers out of the texts of cells."""

from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

Floats = NDArray[np.float64]

# Beside Arrow's own: how sites write that there is nothing.
NOTHING: Final = ("", "-", "--", "None", "none", "NaN", "nan", "NULL", "null", "N/A", "n/a", "NA")
_THOUSANDS: Final = r"^[1-9]\d{0,2}(,\d{3})+(\.\d*)?$"
_NUMBER: Final = r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$"
_SUFFIXES: Final = {"K": 1e3, "M": 1e6, "B": 1e9}


def numbers(cells: pa.Array) -> Floats:
    """The cells as numbers (n_rows,), NaN where one is empty, -inf where one holds something else.

    Numbers may have `$` before, commas between thousands, and K, M or B behind. A comma that can't
    stand between thousands stands before decimals.
    """
    if pa.types.is_string(cells.type) or pa.types.is_large_string(cells.type):
        try:
            cells = cells.cast(pa.float64())
        except pa.ArrowInvalid:
            cells = _loosely(cells)
    else:
        cells = cells.cast(pa.float64(), safe=False)
    return np.asarray(cells.to_numpy(zero_copy_only=False), np.float64)


def _loosely(texts: pa.Array) -> pa.Array:
    texts = pc.utf8_ltrim(pc.utf8_trim_whitespace(texts), "$")
    factor = pa.array(np.ones(len(texts)))
    for suffix, times in _SUFFIXES.items():
        has = pc.ends_with(texts, suffix).fill_null(False)
        factor = pc.if_else(has, times, factor)
        texts = pc.if_else(has, pc.utf8_rtrim(texts, suffix), texts)
    grouped = pc.match_substring_regex(texts, _THOUSANDS)
    decimal = pc.replace_substring(texts, ",", ".")
    texts = pc.if_else(grouped, pc.replace_substring(texts, ",", ""), decimal)
    texts = pc.if_else(pc.match_substring_regex(texts, _NUMBER), texts, "-inf")
    return pc.multiply(texts.cast(pa.float64()), factor)
