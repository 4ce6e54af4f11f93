"""`usher sync` in worlds by chance: whatever befalls it, a run without troubles comes to the right end."""

from __future__ import annotations

import os

import pytest
from sync_worlds import World
from sync_worlds_real import RealTarget

FIRST = int(os.environ.get("USHER_CHAOS_FIRST", "1000"))
COUNT = int(os.environ.get("USHER_CHAOS_COUNT", "300"))

# As many as do not take long.
FEW = (0, 1, 2, 3, 4, 5, 6, 8, 9, 11)


@pytest.mark.parametrize("seed", FEW)
def test_a_world_comes_to_the_right_end(syncing, stack, start_fake, seed):
    World(seed, stack, syncing, start_fake(), start_fake()).live()


@pytest.mark.long
@pytest.mark.parametrize("seed", range(FIRST, FIRST + COUNT))
def test_each_of_many_worlds_comes_to_the_right_end(syncing, stack, start_fake, seed):
    World(seed, stack, syncing, start_fake(), start_fake()).live()


@pytest.mark.long
@pytest.mark.parametrize("seed", range(FIRST, FIRST + 15))
@pytest.mark.parametrize("kind", ["sdbox", "maildir"])
def test_a_world_with_a_real_target_comes_to_the_right_end(
    syncing, stack, start_fake, account, kind, seed
):
    RealTarget(seed, stack, syncing, start_fake(), account(kind)).live()
