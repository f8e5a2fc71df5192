"""The growing mapping is an immutable dict, and a step copies few entries."""

from __future__ import annotations

import pickle
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rxruns.state._growing import Growing
from tests.records import examples


def grown(changes: list[tuple[int, int]], start: dict[int, int] | None = None) -> Growing[int, int]:
    growing = Growing(start)
    for key, value in changes:
        growing = growing.having(key, value)
    return growing


@examples(60)
@given(st.randoms(use_true_random=False), st.integers(0, 3_000), st.integers(1, 3_000))
def test_it_equals_a_dict_with_the_same_changes(dice: random.Random, start: int, changes: int) -> None:
    expected = dict.fromkeys(range(start), -1)
    growing = Growing(expected)
    for value in range(changes):
        key = dice.randrange(start + changes)
        growing, expected[key] = growing.having(key, value), value
    assert list(expected.items()) == list(growing.items())
    assert (len(expected), expected) == (len(growing), growing)
    assert [expected.get(key) for key in range(6_000)] == [growing.find(key) for key in range(6_000)]
    assert growing == pickle.loads(pickle.dumps(growing))
    assert f"Growing({expected!r})" == repr(growing)


def test_older_values_stay_unchanged() -> None:
    steps = [Growing[int, int]()]
    for number in range(2_000):
        steps.append(steps[-1].having(number * 7 % 1_300, number))
    expected: dict[int, int] = {}
    for number, step in enumerate(steps):
        if number % 100 == 0:
            assert list(expected.items()) == list(step.items())
        expected[number * 7 % 1_300] = number


def test_two_mappings_can_grow_from_one() -> None:
    one = grown([(number, 0) for number in range(1_000)])
    first, second = one.having(1, 1), one.having(1, 2)
    assert (0, 1, 2) == (one[1], first[1], second[1])


def test_a_missing_key_is_a_key_error() -> None:
    with pytest.raises(KeyError, match="7"):
        grown([(number, 0) for number in range(2_000) if number != 7])[7]


@pytest.mark.parametrize("start", [0, 100_000])
def test_a_step_among_100_000_entries_copies_no_more_than_among_a_few(start: int) -> None:
    growing, copied, steps = Growing(dict.fromkeys(range(start), 0)), 0, 100_000
    for key in range(steps):
        before = growing._older
        growing = growing.having(start + key, 0)
        copied += sum(len(layer) for layer in growing._older if not any(layer is old for old in before))
    assert copied <= 60 * steps
