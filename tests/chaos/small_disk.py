"""A folder on a disk so small that a test can fill it."""

import resource
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Final, Self

import psutil

SIZE: Final = "192m"
BLOCK: Final = bytes(1 << 20)
# Without the right to mount, no file may grow past this: a program starts, and writes no table.
FILE_LIMIT: Final = 512


class SmallDisk:
    """A tmpfs where this user may mount one; otherwise a plain folder and a limit on file sizes.

    A `with` block: the folder is there inside it; after it, it is gone where it was a tmpfs.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._ballast = folder / "ballast"
        self.is_tmpfs = False

    def __enter__(self) -> Self:
        self.folder.mkdir(parents=True, exist_ok=True)
        mount = ["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "candlecast-chaos"]
        try:
            done = subprocess.run([*mount, str(self.folder)], capture_output=True, check=False)
        except OSError:
            return self
        self.is_tmpfs = done.returncode == 0
        return self

    def __exit__(self, *_: object) -> None:
        if self.is_tmpfs:
            subprocess.run(["umount", "--lazy", str(self.folder)], check=False)

    @property
    def kind(self) -> str:
        """How it is made full, in words."""
        return f"a tmpfs of {SIZE}" if self.is_tmpfs else "a limit on file sizes (RLIMIT_FSIZE)"

    def fill(self, writers: Iterable[psutil.Process]) -> None:
        """Leave no byte for `writers`, the programs that write to the folder."""
        if not self.is_tmpfs:
            for writer in writers:
                writer.rlimit(psutil.RLIMIT_FSIZE, (FILE_LIMIT, resource.RLIM_INFINITY))
            return
        # Unbuffered: what a block has no room for any more, a byte may still have.
        with self._ballast.open("wb", buffering=0) as ballast:
            for size in (len(BLOCK), 4096, 1):
                try:
                    while ballast.write(BLOCK[:size]) == size:
                        pass
                except OSError:
                    continue

    def free(self) -> None:
        """Make room again, as a person would; limited programs are those that were started anew."""
        self._ballast.unlink(missing_ok=True)
