"""A file's bytes, unpacked: what it is says its beginning, not its name."""

import codecs
import csv
import gzip
import re
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Final

import pyarrow as pa

from conf.errors import ConfigurationError

# How files of bars are called, for who looks for them in a folder.
FILE_ENDINGS: Final = (".csv", ".txt", ".gz", ".zip", ".parquet")
_GZIP: Final = b"\x1f\x8b"
_ZIP: Final = b"PK\x03\x04"
_PARQUET: Final = b"PAR1"
_ENCODINGS: Final = {
    codecs.BOM_UTF8: "utf-8",
    codecs.BOM_UTF16_LE: "utf-16-le",
    codecs.BOM_UTF16_BE: "utf-16-be",
}
# What stands for a line with a cell that its quote opens and none closes: no row, and no note.
NO_ROW: Final = "0"
# What a damaged archive raises, each library in its own words.
_DAMAGED: Final = (
    *(zipfile.BadZipFile, zlib.error, EOFError, csv.Error),
    *(RuntimeError, NotImplementedError),  # of zip: a password, an unknown compression
)


@contextmanager
def readable(file: Path) -> Iterator[None]:
    """Make whatever reading `file` raises a ConfigurationError of one line that names it."""
    try:
        yield
    except FileNotFoundError as error:
        raise ConfigurationError(f"recorded file {file} does not exist") from error
    except (pa.ArrowException, UnicodeError, OSError, *_DAMAGED) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ConfigurationError(
            f"recorded file {file} can't be read, expected CSV (gz, zip) or Parquet: {reason}"
        ) from error


def name_of(file: Path) -> str:
    """A file's name as a text that can be sent, also where its bytes are no UTF-8.

    >>> name_of(Path("data/M\\udce4rz.csv"))
    'M\ufffdrz.csv'
    """
    return file.name.encode(errors="surrogateescape").decode(errors="replace")


def is_parquet(file: Path) -> bool:
    """Whether the file begins as Parquet does."""
    with file.open("rb") as stream:
        return stream.read(len(_PARQUET)) == _PARQUET


@contextmanager
def unpacked(file: Path) -> Iterator[IO[bytes]]:
    """The text in `file`, as bytes, out of gzip or a zip of one CSV file."""
    with file.open("rb") as stream:
        beginning = stream.read(len(_ZIP))
    if beginning.startswith(_GZIP):
        with gzip.open(file) as text:
            yield text  # type: ignore[misc]  # a GzipFile is an IO[bytes] in all but its type
    elif beginning == _ZIP:
        with zipfile.ZipFile(file) as archive, archive.open(_only_member(file, archive)) as text:
            yield text
    else:
        with file.open("rb") as text:
            yield text


def encoding(beginning: bytes) -> tuple[str, int]:
    """By a text's first bytes its encoding, and how many of them only say so."""
    for mark, name in _ENCODINGS.items():
        if beginning.startswith(mark):
            return name, len(mark)
    return "utf-8", 0


def mended(stream: IO[bytes], encoded: str, delimiter: str) -> pa.NativeFile:
    """The rest of a text as UTF-8, each line by itself.

    What is not of its encoding becomes a replacement character. A line whose quote is never closed
    would go on to the next quote, or take all that follows: it becomes `NO_ROW`.
    """
    decoder = codecs.getincrementaldecoder(encoded)("replace")
    # A quote counts where a cell begins, and from there on until the next one that is not doubled.
    within = r'"[^"\r\n]*+(?:""[^"\r\n]*+)*+'
    cell = rf'(?:{within}"|(?!"))[^{delimiter}\r\n]*+{re.escape(delimiter)}'
    unclosed = re.compile(rf"(?<![^\r\n])(?:{cell})*+{within}(?![^\r\n])")
    # Whether there may be one at all: asked first, since it is 3 to 90 times as fast.
    suspect = re.compile(rf'"(?<![^{delimiter}\r\n]"){within[1:]}(?![^\r\n])')
    kept = ""

    def block(packed: bytes) -> bytes:
        nonlocal kept
        text = kept + decoder.decode(packed, not packed)
        end = 1 + max(text.rfind("\n"), text.rfind("\r")) if packed else len(text)
        kept = text[end:]
        text = text[:end]
        return (unclosed.sub(NO_ROW, text) if suspect.search(text) else text).encode()

    return pa.TransformInputStream(pa.PythonFile(stream, "r"), block)


def _only_member(file: Path, archive: zipfile.ZipFile) -> str:
    names = [info.filename for info in archive.infolist() if not info.is_dir()]
    tables = [name for name in names if name.lower().endswith((".csv", ".txt"))]
    tables = [name for name in tables if not name.startswith("__MACOSX/")]
    if len(tables) != 1:
        raise ConfigurationError(
            f"recorded file {file}: expected one CSV file in the archive, "
            f"found {', '.join(names[:5]) or 'none'}{' ...' if len(names) > 5 else ''}; unpack it"
        )
    return tables[0]
