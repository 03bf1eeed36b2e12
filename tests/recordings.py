"""The same four bars in the forms in which sites and tools hand them out."""

import gzip
import io
import zipfile
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Final

import pandas as pd
import pyarrow as pa
import pyarrow.parquet

FIRST_MS: Final = 1_614_556_740_000  # 2021-02-28T23:59Z, so that a day's date and hour change
MINUTE_MS: Final = 60_000
# open, high, low, close, base volume, quote volume; the third minute is missing.
BARS: Final = {
    FIRST_MS: (45000.5, 45010.0, 44990.0, 45000.0, 1.5, 67500.0),
    FIRST_MS + MINUTE_MS: (45000.0, 45000.0, 44950.25, 44960.0, 0.25, 11240.0),
    FIRST_MS + 3 * MINUTE_MS: (44960.0, 45100.0, 44960.0, 45099.0, 2.0, 90198.0),
    FIRST_MS + 4 * MINUTE_MS: (45099.0, 45099.0, 45000.0, 45001.0, 0.0, 0.0),
}
NO_QUOTE: Final = {ms: (*values[:5], None) for ms, values in BARS.items()}
Row = tuple[float, ...]


def lines(
    header: str, row: Callable[[int, Row], str], *, before: str = "", behind: str = ""
) -> bytes:
    rows = "".join(f"{row(ms, values)}\n" for ms, values in BARS.items())
    return (before + (f"{header}\n" if header else "") + rows + behind).encode()


def written(form: str, ms: int) -> str:
    return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=ms)).strftime(form)


def with_time(form: Callable[[int], str], header: str = "time") -> bytes:
    return lines(f"{header},open,high,low,close,volume", lambda ms, v: f"{form(ms)},{cells(v, 5)}")


def cells(values: Row, count: int = 6) -> str:
    return ",".join(repr(value) for value in values[:count])


def dated(form: str, header: str = "Date") -> bytes:
    return with_time(lambda ms: written(form, ms), header)


def reversed_rows(text: bytes) -> bytes:
    header, *rows = text.decode().splitlines()
    return "\n".join([header, *reversed(rows), ""]).encode()


def behind_each_row(text: bytes, more: bytes) -> bytes:
    header, *rows = text.splitlines()
    return b"\n".join([header, *(row + more for row in rows)])


def zipped(text: bytes, *others: str) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("BTCUSDT-1m-2021-02.csv", text)
        for other in others:
            archive.writestr(other, "x")
    return file.getvalue()


def parquet(times: int, by: int, kind: pa.DataType, shown: pa.DataType | None = None) -> bytes:
    columns = {"open_time": pa.array([ms * times // by for ms in BARS], kind).cast(shown or kind)}
    for i, value in enumerate(("open", "high", "low", "close", "volume", "quote_volume")):
        columns[value] = pa.array([row[i] for row in BARS.values()])
    file = io.BytesIO()
    pa.parquet.write_table(pa.table(columns), file)
    return file.getvalue()


def parquet_of_pandas() -> bytes:
    frame = pd.DataFrame(
        [values[:5] for values in BARS.values()],
        index=pd.to_datetime(list(BARS), unit="ms", utc=True).tz_convert("America/New_York"),
        columns=["Open", "High", "Low", "Close", "Volume"],
    )
    file = io.BytesIO()
    frame.to_parquet(file)
    return file.getvalue()


OURS: Final = lines(
    "time,open,high,low,close,volumefrom,volumeto", lambda ms, v: f"{ms // 1000},{cells(v)}"
)


def kline(ms: int, values: Row, per_ms: int = 1) -> str:
    close, base, quote = ms + MINUTE_MS - 1, values[4], values[5]
    return f"{ms * per_ms},{cells(values, 4)},{base!r},{close * per_ms},{quote!r},12,0.5,22500.0,0"


def crypto_data_download(form: str, unix: bool = False) -> bytes:
    names = "Symbol,Open,High,Low,Close,Volume BTC,Volume USDT,tradecount"
    return b"https://www.CryptoDataDownload.com\n" + reversed_rows(
        lines(
            f"{'Unix,' if unix else ''}Date,{names}",
            lambda ms, v: f"{f'{ms},' if unix else ''}{written(form, ms)},BTC/USDT,{cells(v)},12",
        )
    )


KLINES: Final = lines("", kline)
KLINES_US: Final = lines("", lambda ms, values: kline(ms, values, 1000))
KRAKEN: Final = lines("", lambda ms, values: f"{ms // 1000},{cells(values, 5)},7")
TOKYO: Final = pa.timestamp("ns", "Asia/Tokyo")

# The name of a file, what it holds, and the bars to be read from it.
FORMS: Final[dict[str, tuple[str, bytes, dict[int, tuple[float | None, ...]]]]] = {
    "ours": ("a.csv", OURS, BARS),
    "ours in gzip": ("a.csv.gz", gzip.compress(OURS), BARS),
    "ours in gzip without an ending": ("a.csv", gzip.compress(OURS), BARS),
    "ours with a byte order mark": ("a.csv", b"\xef\xbb\xbf" + OURS, BARS),
    "ours in UTF-16": ("a.csv", OURS.decode().encode("utf-16"), BARS),
    "ours with CRLF": ("a.csv", OURS.replace(b"\n", b"\r\n"), BARS),
    "ours without a last line end": ("a.csv", OURS.rstrip(), BARS),
    "ours, newest first": ("a.csv", reversed_rows(OURS), BARS),
    "ours with a delimiter behind": (
        "a.csv",
        OURS.replace(b"\n", b",\n").replace(b"to,", b"to"),
        BARS,
    ),
    "ours with blanks": ("a.csv", OURS.replace(b",", b" , "), BARS),
    "ours with blank lines": ("a.csv", OURS.replace(b"\n", b"\n\n"), BARS),
    "semicolons": ("a.csv", OURS.replace(b",", b";"), BARS),
    "tabs": ("a.txt", OURS.replace(b",", b"\t"), BARS),
    "quoted": (
        "a.csv",
        b"\n".join(b'"' + b'","'.join(x.split(b",")) + b'"' for x in OURS.split()),
        BARS,
    ),
    "seconds as floats": ("a.csv", with_time(lambda ms: f"{ms / 1000}", "Timestamp"), NO_QUOTE),
    "milliseconds": ("a.csv", with_time(str, "timestamp"), NO_QUOTE),
    "microseconds": ("a.csv", with_time(lambda ms: f"{ms}000", "open_time"), NO_QUOTE),
    "nanoseconds": ("a.csv", with_time(lambda ms: f"{ms}000000", "t"), NO_QUOTE),
    "ISO with Z": ("a.csv", dated("%Y-%m-%dT%H:%M:%SZ"), NO_QUOTE),
    "ISO with an offset": ("a.csv", dated("%Y-%m-%d %H:%M:%S+00:00", "Datetime"), NO_QUOTE),
    "ISO without a zone": ("a.csv", dated("%Y-%m-%d %H:%M:%S"), NO_QUOTE),
    "ISO to the minute": ("a.csv", dated("%Y-%m-%dT%H:%M"), NO_QUOTE),
    "ISO with UTC behind": ("a.csv", dated("%Y-%m-%d %H:%M:%S UTC"), NO_QUOTE),
    "12 hours": ("a.csv", dated("%Y-%m-%d %I:%M:%S %p"), NO_QUOTE),
    "month first": ("a.csv", dated("%m/%d/%Y %H:%M"), NO_QUOTE),
    "day first, 12 hours": ("a.csv", dated("%d/%m/%Y %I:%M %p"), NO_QUOTE),
    "Dukascopy": ("a.csv", dated("%d.%m.%Y %H:%M:%S.000", "Gmt time"), NO_QUOTE),
    "MetaTrader": (
        "a.csv",
        lines(
            "<DATE>\t<TIME>\t<OPEN>\t<HIGH>\t<LOW>\t<CLOSE>\t<VOL>",
            lambda ms, v: f"{written('%Y.%m.%d	%H:%M:%S', ms)}\t{cells(v, 5)}".replace(
                ",", "\t"
            ),
        ),
        NO_QUOTE,
    ),
    "Stooq": (
        "a.txt",
        lines(
            "<TICKER>,<PER>,<DATE>,<TIME>,<OPEN>,<HIGH>,<LOW>,<CLOSE>,<VOL>",
            lambda ms, v: f"BTC.V,1,{written('%Y%m%d,%H%M%S', ms)},{cells(v, 5)}",
        ),
        NO_QUOTE,
    ),
    "Binance's klines": ("a.csv", KLINES, BARS),
    "Binance's klines in a zip": ("a.zip", zipped(KLINES), BARS),
    "Binance's klines in microseconds": (
        "a.csv",
        lines("", lambda ms, v: kline(ms, v, 1000)),
        BARS,
    ),
    "Binance's futures": (
        "a.csv",
        lines(
            "open_time,open,high,low,close,volume,close_time,quote_volume,count,"
            "taker_buy_volume,taker_buy_quote_volume,ignore",
            kline,
        ),
        BARS,
    ),
    "python-binance": (
        "a.csv",
        lines(
            "Open time,Open,High,Low,Close,Volume,Close time,Quote asset volume,"
            "Number of trades,Taker buy base asset volume,Taker buy quote asset volume,Ignore",
            kline,
        ),
        BARS,
    ),
    "CryptoDataDownload": (
        "a.csv",
        crypto_data_download("%Y-%m-%d %H:%M:%S", True),
        BARS,
    ),
    "CryptoDataDownload, dates alone": (
        "a.csv",
        crypto_data_download("%Y-%m-%d %H:%M"),
        BARS,
    ),
    "Kaggle's Bitstamp": (
        "a.csv",
        lines(
            "Timestamp,Open,High,Low,Close,Volume_(BTC),Volume_(Currency),Weighted_Price",
            lambda ms, v: f"{ms // 1000},{cells(v)},45000.0",
            behind=f"{FIRST_MS // 1000 + 120},NaN,NaN,NaN,NaN,NaN,NaN,NaN\n",
        ),
        BARS,
    ),
    "Kraken's OHLCVT": (
        "a.csv",
        lines("", lambda ms, v: f"{ms // 1000},{cells(v, 5)},7"),
        NO_QUOTE,
    ),
    "yfinance": (
        "a.csv",
        lines(
            "Price,Close,High,Low,Open,Volume\nTicker" + ",BTC-USD" * 5 + "\nDatetime,,,,,",
            lambda ms, v: (
                f"{written('%Y-%m-%d %H:%M:%S+00:00', ms)},"
                + ",".join(repr(v[i]) for i in (3, 1, 2, 0, 4))
            ),
        ),
        NO_QUOTE,
    ),
    "CoinMarketCap": (
        "a.csv",
        lines(
            "timeOpen;timeClose;name;open;high;low;close;volume;marketCap;timestamp",
            lambda ms, v: (
                f'"{written("%Y-%m-%dT%H:%M:00Z", ms)}";"{written("%Y-%m-%dT%H:%M:59Z", ms)}";'
                f'"2781";{cells(v, 5).replace(",", ";")};9e11;'
                f'"{written("%Y-%m-%dT%H:%M:59Z", ms)}"'
            ),
        ),
        NO_QUOTE,
    ),
    "Investing": (
        "a.csv",
        lines(
            '"Date","Price","Open","High","Low","Vol.","Change %"',
            lambda ms, v: (
                f'"{written("%b %d, %Y %H:%M", ms)}","{v[3]:,}","{v[0]:,}","{v[1]:,}","{v[2]:,}",'
                f'"{v[4] / 1000}K","-0.03%"'
            ),
        ),
        NO_QUOTE,
    ),
    "a spreadsheet with commas before the decimals": (
        "a.csv",
        lines(
            "Date;Open;High;Low;Close;Volume",
            lambda ms, v: (
                f"{written('%d.%m.%Y %H:%M', ms)};"
                + ";".join(f"{x:,.2f}".translate(str.maketrans(",.", ".,")) for x in v[:5])
            ),
        ),
        NO_QUOTE,
    ),
    "HistData": (
        "a.csv",
        lines(
            "",
            lambda ms, v: f"{written('%Y%m%d %H%M%S', ms)};{cells(v, 5).replace(',', ';')}",
        ),
        NO_QUOTE,
    ),
    "pandas' index": ("a.csv", dated("%Y-%m-%d %H:%M:%S", ""), NO_QUOTE),
    "a footer, a comment, a row too much": (
        "a.csv",
        OURS + OURS.splitlines()[1] + b"\n# end\nData by example.org\n",
        BARS,
    ),
    "a footer in Latin-1": ("a.csv", OURS + "Donn\xe9es: example.org\n".encode("latin-1"), BARS),
    "two symbols": (
        "a.csv",
        lines(
            "symbol,interval,open_time,open,high,low,close,base_volume,quote_volume",
            lambda ms, v: (
                f"BTC-USDT,1m,{written('%Y-%m-%d %H:%M:%S', ms)},{cells(v)}\n"
                f"ETH-USDT,1m,{written('%Y-%m-%d %H:%M:%S', ms)},1,1,1,1,1,1"
            ),
        ),
        BARS,
    ),
    "Parquet of s": ("a.parquet", parquet(1, 1000, pa.timestamp("s")), BARS),
    "Parquet of ms": ("a.parquet", parquet(1, 1, pa.timestamp("ms")), BARS),
    "Parquet of us": ("a.parquet", parquet(1000, 1, pa.timestamp("us", "UTC")), BARS),
    "Parquet of ns in Tokyo": ("a.parquet", parquet(10**6, 1, TOKYO), BARS),
    "Parquet of int64 us": ("a.parquet", parquet(1000, 1, pa.int64()), BARS),
    "Parquet of texts": ("a.parquet", parquet(1000, 1, pa.timestamp("us"), pa.string()), BARS),
    "Parquet of pandas": ("a.pq", parquet_of_pandas(), NO_QUOTE),
}
