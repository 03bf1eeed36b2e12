"""`candlecast run` starts again what may be tried again, and leaves the rest to a person."""

import sys
from pathlib import Path

import pytest

from conf.errors import ConfigurationError, Stop
from jobs.machine.processes import Program, wait_until
from jobs.run import FIRST_PAUSE_S, HEALTHY_AFTER_S, LONGEST_PAUSE_S, Kept, programs


def ended(folder: Path, exit_code: int, says: str = "why it ended") -> Kept:
    """A program that was started at 0 s and has ended with this exit code."""
    script = f"import sys; print({says!r}); sys.exit({exit_code})"
    kept = Kept(Program("example", [sys.executable, "-c", script], {}, folder / "log"))
    start(kept, now=0.0)
    return kept


def start(kept: Kept, now: float) -> None:
    """Let it start, and wait until it has ended by itself."""
    kept.look(now)
    assert wait_until(lambda: kept.program.exit_code is not None, timeout_s=30)


def test_a_program_that_may_be_tried_again_starts_after_a_pause(tmp_path: Path) -> None:
    kept = ended(tmp_path, exit_code=75)
    kept.look(1.0)
    kept.look(1.0 + FIRST_PAUSE_S / 2)
    assert not kept.program.running
    kept.look(1.0 + FIRST_PAUSE_S)
    assert kept.started_at == 1.0 + FIRST_PAUSE_S
    kept.program.stop()


def test_the_pause_doubles_up_to_its_limit(tmp_path: Path) -> None:
    kept, now, pauses = ended(tmp_path, exit_code=1), 0.0, []
    for _ in range(10):
        kept.look(now)
        pauses.append(kept.start_at - now)
        now = kept.start_at
        start(kept, now)
    assert pauses[:3] == [FIRST_PAUSE_S, 2 * FIRST_PAUSE_S, 4 * FIRST_PAUSE_S]
    assert pauses[-1] == LONGEST_PAUSE_S


def test_a_program_that_was_healthy_starts_with_a_short_pause_again(tmp_path: Path) -> None:
    kept = ended(tmp_path, exit_code=1)
    kept.pause_s = LONGEST_PAUSE_S
    kept.look(HEALTHY_AFTER_S + 1)
    assert kept.start_at == HEALTHY_AFTER_S + 1 + FIRST_PAUSE_S


@pytest.mark.parametrize("exit_code", [65, 78])
def test_a_program_that_needs_a_person_ends_the_run_with_its_message(
    tmp_path: Path, exit_code: int
) -> None:
    with pytest.raises(Stop, match="example needs you: why it ended"):
        ended(tmp_path, exit_code).look(1.0)


def test_what_java_prints_behind_the_message_does_not_hide_it(tmp_path: Path) -> None:
    ours = "candlecast: the disk is full"
    says = f"{ours}\n2026-01-01T00:00:01 ERROR FileFormatWriter: Aborting job\n\tat org.example.Q"
    with pytest.raises(Stop, match=r"example needs you: .*the disk is full$"):
        ended(tmp_path, 65, says).look(1.0)


def test_an_error_of_an_earlier_run_does_not_stand_in_for_this_ones(tmp_path: Path) -> None:
    (tmp_path / "log").write_text("candlecast: the disk is full\n")
    with pytest.raises(Stop, match="example needs you: why it ended"):
        ended(tmp_path, 78).look(1.0)


def test_a_program_that_there_is_not_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="--only trading"):
        programs(["stream", "trading"], tmp_path)
