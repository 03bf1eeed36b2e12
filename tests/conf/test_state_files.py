from pathlib import Path

import pytest

from conf import state_files
from conf.state_files import read_state, replace_file, write_state


def test_what_is_written_is_read(tmp_path: Path) -> None:
    file = tmp_path / "a" / "state.json"
    assert read_state(file) == {}
    write_state(file, {"lag": 3})
    assert read_state(file) == {"lag": 3}
    assert list(file.parent.iterdir()) == [file]


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"3", b"\xff", b"[" * 100_000, b"null"])
def test_a_file_that_holds_no_state_is_empty_with_a_warning(
    content: bytes, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "state.json").write_bytes(content)
    assert read_state(tmp_path / "state.json") == {}
    assert "state_unreadable" in caplog.text


def test_a_full_disk_leaves_the_file_of_before_and_nothing_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "state.json"
    write_state(file, {"lag": 3})

    def full(*_: object) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(state_files.os, "fsync", full)
    with pytest.raises(OSError, match="no space"):
        replace_file(file, "{}")
    assert read_state(file) == {"lag": 3}
    assert list(tmp_path.iterdir()) == [file]
