"""The simulation behind docs/scale.md obeys what is known of queues; the tables on the page are its own."""

from __future__ import annotations

import math
import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks import scale_page
from benchmarks.simulation import Cost, Followed, Load, follow, reconnect
from rxruns import ResumePolicy

LOAD = Load(runs_per_second=5.0, seconds_per_run=20.0, events_per_second=5.0, events_per_piece=5)
FREE = Cost(event=0.0, opening=0.0)


def seeds(load: Load, count: int = 5, **options: Any) -> list[Followed]:
    return [follow(load, seed=seed, **options) for seed in range(count)]


def mean(values: list[float]) -> float:
    return sum(values) / len(values)


# ---- laws ----


def test_littles_law_of_the_streams() -> None:
    """L = λW: streams at once are runs a second times the seconds of a run."""
    live = mean([seen.mean_live for seen in seeds(LOAD, cost=FREE)])
    assert live == pytest.approx(LOAD.runs_per_second * LOAD.seconds_per_run, rel=0.03)


def test_littles_law_of_the_runs_that_wait() -> None:
    """Those that wait are runs a second times the seconds of a wait, where the places are too few."""
    for seen in seeds(LOAD, 2, most=90, seconds=1_000.0, cost=FREE):
        taken = (seen.arrived - seen.waiting) / 1_000.0
        assert seen.mean_wait > 0
        assert seen.mean_waiting == pytest.approx(taken * seen.mean_wait, rel=0.05)


def test_the_processor_is_busy_for_what_it_does() -> None:
    """ρ = λS, of openings and of events."""
    cost = Cost(event=1e-3, opening=20e-3)
    busy = mean([seen.busy for seen in seeds(LOAD, cost=cost)])
    events = LOAD.runs_per_second * LOAD.seconds_per_run * LOAD.events_per_second
    assert busy == pytest.approx(LOAD.runs_per_second * cost.opening + events * cost.event, rel=0.03)


@pytest.mark.parametrize("busy", [0.3, 0.5])
def test_pieces_wait_for_the_processor_as_pollaczek_and_khinchine_say(busy: float) -> None:
    """M/D/1: the mean time in the system is S (1 + ρ / 2(1 - ρ)). Nearer to 1, the number of live runs, which
    varies, makes it longer."""
    pieces = LOAD.runs_per_second * LOAD.seconds_per_run * LOAD.events_per_second / LOAD.events_per_piece
    service = busy / pieces
    cost = Cost(event=service / LOAD.events_per_piece, opening=0.0)
    lag = mean([seen.mean_lag for seen in seeds(LOAD, cost=cost, seconds=600.0)])
    assert lag == pytest.approx(service * (1 + busy / (2 * (1 - busy))), rel=0.1)


@settings(max_examples=30)
@given(rate=st.floats(0.1, 20), life=st.floats(0.1, 20), most=st.integers(1, 60), seed=st.integers(0, 1_000))
def test_no_run_is_lost_and_no_more_are_live_than_may_be(
    rate: float, life: float, most: int, seed: int
) -> None:
    seen = follow(Load(runs_per_second=rate, seconds_per_run=life), most=most, seconds=20.0, seed=seed)
    assert seen.arrived == seen.ended + seen.live + seen.waiting
    assert seen.peak_live <= most
    assert 0 == seen.waiting or most == seen.live


def test_the_same_seed_tells_the_same_story_and_another_one_another() -> None:
    assert follow(LOAD, seed=3) == follow(LOAD, seed=3)
    assert follow(LOAD, seed=3) != follow(LOAD, seed=4)
    policy = ResumePolicy()
    assert 1 == len({reconnect(50, policy, outage=1.0, accepts_per_second=9).requests for _ in range(3)})


def test_a_simulation_leaves_everybody_elses_dice_alone() -> None:
    random.seed(7)
    expected = random.random()
    random.seed(7)
    reconnect(50, ResumePolicy(), outage=1.0, accepts_per_second=9)
    assert expected == random.random()


# ---- all come back at once ----


@settings(max_examples=50)
@given(
    streams=st.integers(1, 300),
    tries=st.integers(1, 12),
    outage=st.floats(0, 40),
    accepts=st.integers(1, 500),
    jitter=st.booleans(),
)
def test_each_stream_is_back_or_given_up_after_as_many_tries_as_it_has(
    streams: int, tries: int, outage: float, accepts: int, jitter: bool
) -> None:
    policy = ResumePolicy(max_reconnects=tries)
    seen = reconnect(streams, policy, outage=outage, accepts_per_second=accepts, jitter=jitter)
    assert streams == seen.back + seen.given_up
    assert seen.back + tries * seen.given_up <= seen.requests <= tries * streams
    assert 1 <= seen.busiest_second <= seen.requests
    assert math.isinf(seen.seconds) if seen.back == 0 else seen.seconds >= outage


def test_a_service_that_is_there_for_everybody_is_asked_once_by_each() -> None:
    seen = reconnect(100, ResumePolicy(), outage=0.0, accepts_per_second=1_000)
    assert (100, 0, 100, 0.0) == (seen.back, seen.given_up, seen.requests, seen.seconds)


def test_without_jitter_streams_that_broke_together_come_back_together() -> None:
    spread, lockstep = (
        reconnect(1_000, ResumePolicy(), outage=0.0, accepts_per_second=200, jitter=jitter)
        for jitter in (True, False)
    )
    assert spread.given_up < lockstep.given_up
    assert spread.requests < lockstep.requests


def test_the_default_budget_lasts_for_an_outage_of_seconds_and_a_larger_one_for_half_a_minute() -> None:
    """The table says the same with rounder words."""
    asked = {"outage": 30.0, "accepts_per_second": 500.0}
    assert 1_000 == reconnect(1_000, ResumePolicy(), **asked).given_up  # type: ignore[arg-type]
    assert 0 == reconnect(1_000, ResumePolicy(max_reconnects=10), **asked).given_up  # type: ignore[arg-type]
    assert 0 == reconnect(1_000, ResumePolicy(), outage=3.0, accepts_per_second=500).given_up


# ---- the page ----


def test_the_tables_of_the_page_are_not_stale() -> None:
    text = scale_page.PAGE.read_text("utf-8")
    assert scale_page.page(text) == text, "run `python -m benchmarks.scale_page`"
