"""What stands in the file of results, and where it comes from."""

from bench.replay import Replayed
from bench.report import Measured, report


def test_a_ratio_is_of_what_one_round_measured_and_a_round_that_failed_has_none() -> None:
    ours = {
        number: Replayed(bars=rate, seconds=1, cpu_s=1) for number, rate in enumerate((8, 9, 4))
    }
    theirs = {number: Replayed(bars=rate, seconds=1, cpu_s=1) for number, rate in ((0, 4), (2, 1))}
    found = report(Measured(replays={"job_lstm32": ours, "quix": theirs}), {})
    assert found["ratios_by_round"]["replay_vs_quix"]["rounds"] == [2, 4]
    assert found["ratios"]["replay_vs_quix"] == 3
    assert found["ratios"]["cores_2_vs_1"] is None
