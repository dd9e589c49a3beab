"""What counts as memory, and who gets a large piece of it (D07)."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from mailrelay.memory import Memory, Use, _system

_MB = 1_000_000


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    """A system with 8 GB, of which this process uses 40 kB, and no cgroup."""
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/meminfo").write_text("MemTotal:        8000000 kB\nMemFree: 1 kB\n")
    (tmp_path / "proc/self/statm").write_text("100 10 5 1 0 50 0\n")
    return tmp_path


def _put(machine: Path, **files: str) -> None:
    for name, text in files.items():
        path = machine / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def test_without_a_cgroup_it_is_the_machine_and_this_process(machine: Path) -> None:
    assert _system(machine)() == Use(8_000_000 * 1024, 40_960)


def test_the_tightest_cgroup_of_version_2_counts_without_the_page_cache(machine: Path) -> None:
    _put(machine, **{"proc/self/cgroup": "0::/system.slice/mailrelay.service\n"})
    slice_ = machine / "sys/fs/cgroup/system.slice"
    (slice_ / "mailrelay.service").mkdir(parents=True)
    (slice_ / "mailrelay.service/memory.max").write_text("max\n")
    (slice_ / "memory.max").write_text("1000000\n")
    (slice_ / "memory.current").write_text("900000\n")
    (slice_ / "memory.stat").write_text("anon 1\ninactive_file 300000\nactive_file 100000\n")
    assert _system(machine)() == Use(1_000_000, 500_000)


def test_a_cgroup_of_version_1_in_a_container_that_does_not_see_its_path(machine: Path) -> None:
    _put(
        machine,
        **{
            "proc/self/cgroup": "5:cpu:/a\n4:memory:/docker/1234\n",
            "sys/fs/cgroup/memory/memory.limit_in_bytes": "256000000",
            "sys/fs/cgroup/memory/memory.usage_in_bytes": "200000000",
            "sys/fs/cgroup/memory/memory.stat": "inactive_file 1\ntotal_inactive_file 50000000\ntotal_active_file 0\n",
        },
    )
    assert _system(machine)() == Use(256_000_000, 150_000_000)


def test_it_is_short_from_three_quarters_on() -> None:
    assert not Memory(lambda: Use(100, 74)).short()
    assert Memory(lambda: Use(100, 75)).short()


async def test_large_pieces_wait_for_each_other_and_one_alone_always_goes() -> None:
    memory = Memory(lambda: Use(200 * _MB, 50 * _MB))  # 50 MB to give
    assert memory.take(30 * _MB)
    assert not memory.take(30 * _MB)
    assert memory.take(10 * _MB)
    memory.give_back(40 * _MB)
    entered: list[int] = []

    async def hold(number: int) -> None:
        async with memory.room(500 * _MB):
            entered.append(number)
            await asyncio.sleep(0.01)
            assert entered[-1] == number

    await asyncio.gather(*(hold(number) for number in range(3)))
    assert len(entered) == 3
    assert memory.take(50 * _MB)
