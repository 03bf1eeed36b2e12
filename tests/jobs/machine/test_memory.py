"""How much memory is free, as files of the kernel say it."""

from pathlib import Path

import pytest

from conf.errors import NotEnoughMemory
from jobs.machine.memory import free_bytes, require_memory

GB = 1_000_000_000
V2 = "sys/fs/cgroup"
V1 = "sys/fs/cgroup/memory"


def written(root: Path, files: dict[str, object]) -> Path:
    for name, content in files.items():
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"{content}\n")
    return root


MACHINE = {"proc/meminfo": f"MemTotal: 9 kB\nMemAvailable:   {8 * GB // 1024} kB"}


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, None),
        ({"proc/meminfo": "nonsense\nMemAvailable: much"}, None),
        (MACHINE, 8 * GB),
        ({**MACHINE, f"{V2}/memory.max": "max", f"{V2}/memory.current": GB}, 8 * GB),
        ({**MACHINE, f"{V2}/memory.max": 3 * GB, f"{V2}/memory.current": GB}, 2 * GB),
        (
            {
                f"{V2}/memory.max": 3 * GB,
                f"{V2}/memory.current": 3 * GB,
                f"{V2}/memory.stat": f"anon {2 * GB}\ninactive_file {GB}",
            },
            GB,
        ),
        (
            {
                "proc/self/cgroup": "0::/pod/app",
                f"{V2}/pod/memory.max": 2 * GB,
                f"{V2}/pod/memory.current": GB,
                f"{V2}/pod/app/memory.max": "max",
                f"{V2}/pod/app/memory.current": GB,
            },
            GB,
        ),
        (
            {
                "proc/self/cgroup": "4:cpu:/x\n3:memory:/app\n1:name=systemd:/",
                f"{V1}/memory.limit_in_bytes": 2**63 - 4096,
                f"{V1}/memory.usage_in_bytes": GB,
                f"{V1}/app/memory.limit_in_bytes": 4 * GB,
                f"{V1}/app/memory.usage_in_bytes": GB,
            },
            3 * GB,
        ),
    ],
)
def test_free_is_the_least_of_the_machine_and_the_limits_around_the_process(
    tmp_path: Path, files: dict[str, object], expected: int | None
) -> None:
    found = free_bytes(written(tmp_path, files))
    assert found == (None if expected is None else pytest.approx(expected, abs=1024))


def test_a_training_that_does_not_fit_is_refused_with_what_it_needs_and_what_to_set() -> None:
    require_memory(2 * GB, 2 * GB, 10)
    require_memory(2 * GB, None, 10)
    with pytest.raises(NotEnoughMemory, match=r"1,000 bars .* 2\.0 GB .* 1\.5 GB .*max_bars"):
        require_memory(2 * GB, 1_500_000_000, 1000)
