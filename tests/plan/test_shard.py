"""Parts of a grid: each item is in one part, whoever numbers the parts."""

from __future__ import annotations

import pytest

from robench import SpecError
from robench.plan.shard import Shard, shard


@pytest.mark.parametrize("of", [1, 2, 3, 7, 12])
def test_the_parts_are_the_whole_and_share_nothing(of):
    items = list(range(10))
    parts = [Shard(part, of).share(items) for part in range(1, of + 1)]
    assert sorted(item for part in parts for item in part) == items
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


def test_a_list_in_pieces_is_dealt_out_as_the_whole_list():
    items = list(range(11))
    for part in range(1, 4):
        whole = Shard(part, 3)
        pieces = [*whole.share(items[:1]), *whole.after(1).share(items[1:6]), *whole.after(6).share(items[6:])]
        assert pieces == whole.share(items)
    assert shard(str(Shard(2, 3))) == Shard(2, 3)


@pytest.mark.parametrize(
    ("asked", "environment", "part"),
    [
        (None, {"RANK": "3"}, Shard(1, 1)),
        ("3/8", {"RANK": "1", "WORLD_SIZE": "2"}, Shard(3, 8)),
        ("auto", {"SLURM_ARRAY_TASK_ID": "7", "SLURM_ARRAY_TASK_COUNT": "4", "SLURM_ARRAY_TASK_MIN": "5"}, Shard(3, 4)),
        ("auto", {"SLURM_PROCID": "0", "SLURM_NTASKS": "2"}, Shard(1, 2)),
        ("auto", {"RANK": "1", "WORLD_SIZE": "2", "SLURM_PROCID": "0", "SLURM_NTASKS": "1"}, Shard(2, 2)),
        ("auto/6", {"JOB_COMPLETION_INDEX": "5"}, Shard(6, 6)),
        # An array whose tasks are steps too: the array tells the tasks apart.
        (
            "auto",
            {"SLURM_ARRAY_TASK_ID": "0", "SLURM_ARRAY_TASK_COUNT": "3", "SLURM_PROCID": "0", "SLURM_NTASKS": "1"},
            Shard(1, 3),
        ),
    ],
)
def test_which_part(asked, environment, part):
    assert shard(asked, environment) == part


@pytest.mark.parametrize(
    ("asked", "environment", "words"),
    [
        ("9/8", {}, "--shard 9/8 is part 9 of 8, and parts are numbered from 1 to 8; write --shard 3/8"),
        ("0/8", {}, "part 0 of 8"),
        ("1/0", {}, "part 1 of 0"),
        ("3", {}, "--shard '3' names no part; write --shard 3/8 for the third of eight"),
        (3, {}, "--shard takes text, not 3"),
        ("auto", {}, "no scheduler says which part this is (none of SLURM_ARRAY_TASK_ID, JOB_COMPLETION_INDEX, RANK, "),
        ("auto", {"JOB_COMPLETION_INDEX": "2"}, "JOB_COMPLETION_INDEX does not tell how many parts there are; write"),
        ("auto/2", {"JOB_COMPLETION_INDEX": "2"}, "--shard auto: JOB_COMPLETION_INDEX=2 is part 3 of 2"),
    ],
)
def test_what_is_no_part_is_refused(asked, environment, words):
    with pytest.raises(SpecError) as refused:
        shard(asked, environment)
    assert words in str(refused.value)
