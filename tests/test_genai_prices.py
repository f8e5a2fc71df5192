"""Prices from the extra: certain prices of the table are used, uncertain ones are omitted."""

from __future__ import annotations

import json
import pickle
import socket
import sys
from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import reactivex

from rxruns import ops, workflow
from rxruns._ndjson._decoding import encode_event
from rxruns.cli import run
from rxruns.costs import CostTotals, Price, TieredPrice, fold, genai_prices
from rxruns.devserver import DevServer
from rxruns.errors import BudgetError, InvalidArgumentError
from rxruns.events import NodeLLMCall
from rxruns.state import RunState
from tests.making import llm_call, tokens

pytest.importorskip("genai_prices")

from genai_prices import data_snapshot, types

ONE, TWO, SIX = Decimal(1), Decimal(2), Decimal(6)
NEW_YEAR = datetime(2030, 1, 1, tzinfo=UTC)


def model(id: str, prices: Any, *, begins: str | None = None) -> types.ModelInfo:
    match: Any = types.ClauseEquals(id) if begins is None else types.ClauseStartsWith(begins)
    return types.ModelInfo(id=id, match=match, prices=prices)


def tiered(base: Decimal, *tiers: tuple[int, Decimal]) -> types.TieredPrices:
    return types.TieredPrices(base, [types.Tier(start, price) for start, price in tiers])


def flat(**prices: Any) -> types.ModelPrice:
    return types.ModelPrice(**{"input_mtok": ONE, "output_mtok": TWO, **prices})


MODELS = [
    model("flat", flat(cache_read_mtok=ONE, web_searches_kcount=ONE)),
    model("dated", flat(), begins="dated-"),
    model("tiered", flat(input_mtok=tiered(ONE, (1000, SIX)), output_mtok=tiered(TWO, (2000, SIX)))),
    model("requests", flat(requests_kcount=ONE)),
    model("reads-only", flat(output_mtok=None)),
    model("nothing", types.ModelPrice()),
    model(
        "later",
        [
            types.ConditionalPrice(prices=flat()),
            types.ConditionalPrice(
                constraint=types.StartDateConstraint(date(2030, 1, 1)), prices=flat(input_mtok=SIX)
            ),
        ],
    ),
    model(
        "at-night",
        [
            types.ConditionalPrice(prices=flat()),
            types.ConditionalPrice(constraint=types.TimeOfDateConstraint(time(1), time(5)), prices=flat()),
        ],
    ),
]


@pytest.fixture
def table() -> Iterator[None]:
    """Install a fixed table: the one bundled with the package changes with each version."""
    providers = [
        types.Provider(
            id=id, name=id, api_pattern=id, provider_match=types.ClauseEquals(id), models=list(MODELS)
        )
        for id in ("openai", "x-ai", "google", "elsewhere")
    ]
    data_snapshot.set_custom_snapshot(data_snapshot.DataSnapshot(providers, from_auto_update=False))
    yield
    data_snapshot.set_custom_snapshot(None)


@pytest.mark.usefixtures("table")
class TestTable:
    @pytest.mark.parametrize("provider", ["openai", "xai", "google-ai-studio", "elsewhere"])
    @pytest.mark.parametrize("name", ["flat", "dated-2030-01-01"])
    def test_a_model_is_found_by_the_services_provider_and_the_start_of_its_name(
        self, provider: str, name: str
    ) -> None:
        assert {(provider, name): Price(1, 2)} == genai_prices([(provider, name), ("unknown", name)])

    @pytest.mark.parametrize("name", ["flat", "dated-2030-01-01", "DATED-x", "unheard-of", "requests"])
    @pytest.mark.parametrize("provider", ["openai", "xai", "google", "elsewhere", "unknown"])
    def test_without_a_list_each_pair_is_looked_up_when_it_occurs(self, provider: str, name: str) -> None:
        key = (provider, name)
        assert genai_prices([key]).get(key) == genai_prices().get(key)
        assert (key in genai_prices([key])) == (key in genai_prices())

    @pytest.mark.parametrize("key", [("", "flat"), ("openai", ""), ("", ""), ("openai",), "openai", None])
    def test_only_a_pair_of_names_has_a_price(self, key: Any) -> None:
        assert (None, False) == (genai_prices().get(key), key in genai_prices())
        with pytest.raises(KeyError):
            genai_prices()[key]

    def test_all_of_the_services_providers_are_taken_without_a_list(self) -> None:
        prices = genai_prices()
        assert {"openai", "xai", "google-ai-studio"} == {provider for provider, _ in prices}
        assert {"flat", "dated-", "tiered", "later"} == {name for _, name in prices}

    @pytest.mark.parametrize("name", ["requests", "reads-only", "nothing", "at-night", "unheard-of"])
    def test_a_model_whose_price_is_not_sure_has_none_and_is_named(self, name: str) -> None:
        prices = genai_prices([("openai", name)])
        totals = fold([llm_call("openai", name, usage=tokens(10, 10))], prices)
        assert ({}, None, (("openai", name),)) == (prices, totals.usd, totals.unpriced)

    @pytest.mark.parametrize("read", [0, 1000, 1001, 2000, 2001, 10**6])
    def test_each_call_of_a_tiered_model_costs_what_the_package_calculates(self, read: int) -> None:
        from genai_prices import Usage, calc_price

        calculated = calc_price(Usage(input_tokens=read, output_tokens=7), "tiered", provider_id="openai")
        price = genai_prices([("openai", "tiered")])["openai", "tiered"]
        assert calculated.total_price == price.usd(read, 7)

    def test_tiers_are_those_of_calls_and_not_of_their_sum_and_pickle(self) -> None:
        call = llm_call("openai", "tiered", usage=tokens(1000, 0))
        totals, price = CostTotals(genai_prices()), genai_prices()["openai", "tiered"]
        assert Decimal("0.002") == totals.step(call).step(call).usd
        assert isinstance(price, TieredPrice)
        assert (price, totals) == pickle.loads(pickle.dumps((price, totals)))

    def test_list_prices_are_those_of_one_moment_in_every_process(self) -> None:
        before, after = genai_prices(at=datetime(2029, 12, 31)), genai_prices(at=NEW_YEAR)
        key = ("openai", "later")
        assert [Price(1, 2), Price(6, 2)] == [prices[key] for prices in (before, after)]
        assert before == pickle.loads(pickle.dumps(before)) != after
        assert Price(1, 2) == pickle.loads(pickle.dumps(before))[key]
        assert hash(before) == hash(genai_prices(at=datetime(2029, 12, 31, tzinfo=UTC)))
        assert {"openai", "xai", "google-ai-studio"} == {provider for provider, _ in dict(before)}

    def test_totals_that_are_combined_keep_the_prices_of_both_for_what_follows(self) -> None:
        own, call = {("openai", "flat"): Price(7, 7)}, llm_call("openai", "flat", usage=tokens(10**6, 0))
        other = llm_call("openai", "dated-1", usage=tokens(10**6, 0))
        fresh, listed = CostTotals(own), CostTotals(genai_prices(at=NEW_YEAR))
        copy = pickle.loads(pickle.dumps(listed))
        assert [7, 1, 1] == [sums.step(call).usd for sums in (fresh + listed, listed + fresh, listed + copy)]
        assert 1 == (fresh + listed + copy + fresh).step(other).usd
        assert 8 == pickle.loads(pickle.dumps(fresh + listed)).step(call).step(other).usd
        assert ({("openai", "flat")}, Price(7, 7)) == (set(own), (fresh + fresh)._prices["openai", "flat"])
        together = (fresh + listed)._prices
        assert (len(listed._prices), set(listed._prices)) == (len(together), set(together))

    @pytest.mark.parametrize(
        "at", ["2030-01-01", 5, date(2030, 1, 1), datetime.min.replace(tzinfo=timezone(timedelta(hours=14)))]
    )
    @pytest.mark.parametrize("models", [None, [("openai", "flat")]])
    def test_an_invalid_time_is_refused(self, at: Any, models: Any) -> None:
        with pytest.raises(InvalidArgumentError, match="at must be a datetime") as refused:
            genai_prices(models, at=at)
        assert "at" == refused.value.field

    @pytest.mark.parametrize(
        ("models", "message"),
        [
            (5, "models must be an iterable"),
            ("gpt", "two names"),
            ([("openai",)], "two names"),
            ([("openai", "")], "two names"),
        ],
    )
    def test_models_must_be_pairs_of_names(self, models: Any, message: str) -> None:
        with pytest.raises(InvalidArgumentError, match=message) as refused:
            genai_prices(models)
        assert "models" == refused.value.field


@pytest.mark.parametrize("above", [{-1: Price(1, 1)}, {"many": Price(1, 1)}, {1000: 2}])
def test_an_invalid_tier_is_refused(above: Any) -> None:
    with pytest.raises(InvalidArgumentError, match="above"):
        TieredPrice(1, 1, above)


def test_without_the_extra_the_error_names_the_command_that_installs_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "genai_prices", None)
    with pytest.raises(InvalidArgumentError, match=r"pip install 'rxruns\[prices\]'"):
        genai_prices()


def test_the_table_bundled_with_the_package_is_read_without_a_network(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("no network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    prices = genai_prices()
    assert {"anthropic", "openai", "xai", "google-ai-studio"} == {provider for provider, _ in prices}
    assert Price("2.50", 10) == prices["openai", "gpt-4o"]


NAMES = [
    ("anthropic", "claude-sonnet-4-5"),
    ("anthropic", "claude-sonnet-4-5-20250929"),
    ("google", "gemini-2.5-pro"),
    ("google-ai-studio", "gemini-2.5-pro"),
    ("azure", "gpt-4o"),
    ("openai", "gpt-4o-2024-11-20"),
    ("bedrock", "anthropic.claude-3-haiku-20240307-v1:0"),
    ("aws", "anthropic.claude-3-haiku-20240307-v1:0"),
    ("xai", "grok-4"),
    ("x-ai", "grok-4"),
]
"""Names of models as services and gateways report them."""


@pytest.mark.parametrize(("provider", "name"), NAMES)
class TestNames:
    @pytest.fixture
    def call(self, provider: str, name: str) -> NodeLLMCall:
        return llm_call(provider, name, usage=tokens(1000, 100))

    @pytest.fixture
    def usd(self, provider: str, name: str) -> Decimal:
        """The cost of one such call, looked up by name."""
        return genai_prices([(provider, name)])[provider, name].usd(1000, 100)

    def test_a_fold_prices_it(self, call: NodeLLMCall, usd: Decimal) -> None:
        totals = reactivex.of(call, call).pipe(ops.cost_totals(genai_prices())).run()
        assert (2 * usd, ()) == (totals.usd, totals.unpriced)
        assert 3 * usd == pickle.loads(pickle.dumps(totals)).step(call).usd
        assert usd == CostTotals(genai_prices()).combine(CostTotals()).step(call).usd

    def test_a_budget_prices_it(self, call: NodeLLMCall, usd: Decimal) -> None:
        assert call == reactivex.of(call).pipe(ops.budget(usd, genai_prices())).run()
        with pytest.raises(BudgetError, match="were spent"):
            reactivex.of(call, call).pipe(ops.budget(usd, genai_prices())).run()

    def test_the_command_prices_it(
        self, call: NodeLLMCall, usd: Decimal, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        log = tmp_path / "run.ndjson"
        log.write_bytes(encode_event(call) + b"\n")  # which ends before its run does
        assert 3 == run(["cost", str(log), "--prices", "list", "--json"])
        assert usd == json.loads(capsys.readouterr().out, parse_float=Decimal)["total"]["usd"]


def test_a_run_priced_by_it_costs_what_the_service_reports() -> None:
    names = ["claude-haiku-4-5", "gpt-4o-mini"]
    spec = workflow.parallel([workflow.llm(f"n{place}", model=name) for place, name in enumerate(names)])
    with DevServer() as server, server.client() as client:
        run_id = client.create(spec).run_id
        state = RunState(costs=CostTotals(genai_prices()))
        with client.stream_events(run_id) as events:
            for event in events:
                state = state.step(event)
        reported = client.get(run_id).cost_summary
    assert reported is not None
    assert ((), ()) == (state.costs.differences(reported), state.costs.unpriced)
