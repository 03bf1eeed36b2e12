"""What stands in the file of results, and where it comes from."""

from bench.report import Measured, merged, report


def test_parts_measured_again_say_so_and_leave_the_others_as_they_were() -> None:
    live = {"job": {"3s": [[400.0]], "70s": [[300.0]]}, "passthrough": {"3s": [[800.0]]}}
    whole = report(Measured(live=live, cold_start_s=[16.0]), {"parts": ["cold", "live"]})
    live["job"] = {"3s": [[200.0]], "70s": [[300.0]]}
    found = merged(whole, report(Measured(live=live), {"parts": ["live"]}), ["live"])
    assert whole["ratios"]["live_p50_vs_passthrough"] == 0.5
    assert found["ratios"]["live_p50_vs_passthrough"] == 0.25
    assert found["ratios"]["cold_start_s"] == 16.0
    assert found["about"]["measured_apart"]["live"]["parts"] == ["live"]
    assert found["about"]["parts"] == ["cold", "live"]
