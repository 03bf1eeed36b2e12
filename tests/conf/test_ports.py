"""Ports of ours."""

from conf.ports import free_ports


def test_ports_that_are_asked_for_together_are_different_ones() -> None:
    assert all(len(set(free_ports(300))) == 300 for _ in range(5))
