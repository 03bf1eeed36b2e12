"""`kill -9` for what runs: it comes back, and every row is there once. `make chaos` does more."""

import shutil
from pathlib import Path
from random import Random

import pytest

from tests.chaos.balance import balance
from tests.chaos.faults import await_new_bar, deck, strike
from tests.chaos.run import end_left_overs
from tests.chaos.victims import kill
from tests.chaos.world import World


def test_what_is_killed_comes_back_and_every_row_is_there_once(tmp_path: Path) -> None:
    world, random = World(tmp_path / "world", master="local[2,4]"), Random(7)
    with world:
        world.wait("the first micro-batch", lambda: world.written() > 0)
        published = world.published_when_up()
        kills = [kill(world, role, random) for role in ("Python worker", "ingest", "driver JVM")]
        assert kills == [1, 1, 1]
        await_new_bar(world, published)
        assert strike(world, "broker", random).kills == 1
        world.settle()
        assert balance(world).bad == 0

        # and the balance is no check that cannot fail:
        batches = sorted((world.disk.folder / "predictions").glob("batch=*"))
        shutil.copytree(batches[0], batches[0].with_name("batch=again"))
        shutil.rmtree(batches[-1])
        found = balance(world)
        assert found.twice > 0 < found.lost
    assert end_left_overs(world.disk.folder) == 0


@pytest.mark.parametrize("seed", range(3))
def test_a_seed_names_the_order_of_the_faults(seed: int) -> None:
    assert deck(Random(seed)) == deck(Random(seed))
    assert "executor" not in deck(Random(seed), left_out=["executor"])
