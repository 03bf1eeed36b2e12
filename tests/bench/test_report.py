"""What stands in the file of results, and where it comes from."""

from bench.replay import Replayed
from bench.report import Measured, merged, report


def test_parts_measured_again_say_so_and_leave_the_others_as_they_were() -> None:
    live = {"job": {"3s": [[400.0]], "70s": [[300.0]]}, "passthrough": {"3s": [[800.0]]}}
    whole = report(Measured(live=live, cold_start_s={0: 16.0}), {"parts": ["cold", "live"]})
    live["job"] = {"3s": [[200.0]], "70s": [[300.0]]}
    found = merged(whole, report(Measured(live=live), {"parts": ["live"]}), ["live"])
    assert whole["ratios"]["live_p50_vs_passthrough"] == 0.5
    assert found["ratios"]["live_p50_vs_passthrough"] == 0.25
    assert found["ratios"]["cold_start_s"] == 16.0
    assert found["about"]["measured_apart"]["live"]["parts"] == ["live"]
    assert found["about"]["parts"] == ["cold", "live"]


def test_a_ratio_is_of_what_one_round_measured_and_a_round_that_failed_has_none() -> None:
    ours = {
        number: Replayed(bars=rate, seconds=1, cpu_s=1) for number, rate in enumerate((8, 9, 4))
    }
    theirs = {number: Replayed(bars=rate, seconds=1, cpu_s=1) for number, rate in ((0, 4), (2, 1))}
    found = report(Measured(replays={"job_lstm32": ours, "quix": theirs}), {})
    assert found["ratios_by_round"]["replay_vs_quix"]["rounds"] == [2, 4]
    assert found["ratios"]["replay_vs_quix"] == 3
    assert found["ratios"]["cores_2_vs_1"] is None
