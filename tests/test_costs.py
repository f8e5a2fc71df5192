"""Cost totals: what is counted, what is priced, and the laws of folding."""

from __future__ import annotations

import decimal
import pickle
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rxruns.costs import CostDifference, CostLineItem, CostTotals, Price, fold
from rxruns.errors import InvalidArgumentError
from rxruns.events import NodeLLMCall, TokenUsage
from rxruns.models import RunCostLineItem, RunCostSummary
from tests.making import OTHER_RUN, RUN, delta, llm_call, node_started, tokens

GPT = ("openai", "gpt-5")
PRICES = {GPT: Price("1.25", "10")}

counts = st.none() | st.integers(0, 10**12)
usages = st.none() | st.builds(tokens, counts, counts, counts)
names = st.sampled_from([None, "", "openai", "anthropic"])
calls = st.builds(
    llm_call,
    names,
    st.sampled_from([None, "", "small", "large"]),
    usage=usages,
    run_id=st.sampled_from([RUN, OTHER_RUN]),
)
events = st.lists(calls | st.builds(node_started) | st.builds(delta), max_size=12)
amounts = st.decimals(0, 10**6, places=6)
prices = st.dictionaries(
    st.tuples(st.sampled_from(["openai", "anthropic"]), st.sampled_from(["small", "large"])),
    st.builds(Price, amounts, amounts),
)


class TestWhatIsCounted:
    def test_requests_tokens_and_money_add_up(self) -> None:
        totals = fold([llm_call(usage=tokens(1000, 200)), llm_call(usage=tokens(10, 20))], PRICES)
        line = CostLineItem(*GPT, 2, 1010, 220, 1230, 0, Decimal("0.0034625"))
        assert (line,) == totals.line_items
        names = ("requests", "input_tokens", "output_tokens", "total_tokens", "unmetered", "usd")
        for name in names:
            assert getattr(line, name) == getattr(totals, name)
            assert 0 == getattr(CostTotals(), name)
        assert () == totals.unpriced == CostTotals().unpriced == CostTotals().line_items

    @pytest.mark.parametrize("usage", [None, TokenUsage()])
    def test_a_call_without_usage_is_unmetered(self, usage: TokenUsage | None) -> None:
        totals = fold([llm_call(usage=usage)], PRICES)
        assert (1, 1, 0, Decimal(0)) == (totals.requests, totals.unmetered, totals.total_tokens, totals.usd)
        assert totals is totals.step(node_started()) is totals.step(delta())

    @pytest.mark.parametrize(
        ("usage", "total"),
        [
            (tokens(5), 5),
            (tokens(written=5), 5),
            (tokens(total=5), 5),
            (tokens(0, 0), 0),
            (tokens(10, 20, 777), 777),
        ],
    )
    def test_a_usage_with_any_number_is_metered_and_its_own_total_is_kept(
        self, usage: TokenUsage, total: int
    ) -> None:
        totals = fold([llm_call(usage=usage)])
        assert (0, total) == (totals.unmetered, totals.total_tokens)

    @pytest.mark.parametrize(
        ("usage", "counted"),
        [(tokens(total=9), (0, 0, 9)), (tokens(4, total=9), (4, 0, 9)), (tokens(None, 4, 9), (0, 4, 9))],
    )
    def test_tokens_known_only_as_a_total_are_counted_and_their_cost_is_unknown(
        self, usage: TokenUsage, counted: tuple[int, int, int]
    ) -> None:
        totals = fold(
            [llm_call(usage=tokens(1, 1)), llm_call("x", "y", usage=usage)], {("x", "y"): Price(1, 1)}
        )
        line = totals.line_items[1]
        assert counted == (line.input_tokens, line.output_tokens, line.total_tokens)
        assert (None, 0) == (line.usd, line.unmetered)
        alone = fold([llm_call(usage=usage)], PRICES)
        assert (None, (GPT,)) == (alone.usd, alone.unpriced)

    @pytest.mark.parametrize("usage", [tokens(5), tokens(None, 5), tokens(5, None, 5), tokens(total=0)])
    def test_a_part_that_is_absent_costs_nothing_where_the_total_leaves_nothing_for_it(
        self, usage: TokenUsage
    ) -> None:
        totals = fold([llm_call(usage=usage)], {GPT: Price(1, 1)})
        assert Decimal(totals.total_tokens) / 10**6 == totals.usd

    def test_sums_of_the_largest_counts_are_exact_and_can_be_printed(self) -> None:
        most = 2**63 - 1
        call = llm_call(usage=tokens(most, most, most))
        totals = fold([call] * 1000, {GPT: Price("999999999", "0.000001")})
        assert (1000 * most, 1000 * most) == (totals.input_tokens, totals.total_tokens)
        assert 1000 * most * (Fraction(999999999) + Fraction(1, 10**6)) / 10**6 == Fraction(totals.usd or 0)
        assert str(1000 * most) in repr(totals)
        assert f"{1000 * most:,}" in totals._repr_html_()
        assert totals == pickle.loads(pickle.dumps(totals))

    @pytest.mark.parametrize(
        ("provider", "model", "key"),
        [(None, "gpt-5", ("", "gpt-5")), ("openai", None, ("openai", "")), (None, None, ("", ""))],
    )
    def test_a_call_without_provider_or_model_has_no_price(
        self, provider: str | None, model: str | None, key: tuple[str, str]
    ) -> None:
        totals = fold([llm_call(provider, model, usage=tokens(1, 1))], PRICES)
        assert ((key,), None, 2) == (totals.unpriced, totals.usd, totals.total_tokens)

    def test_a_model_without_a_price_makes_the_sum_unknown_and_is_named(self) -> None:
        totals = fold([llm_call(usage=tokens(1, 1)), llm_call("b", "c"), llm_call("a", "d")], PRICES)
        assert (None, (("a", "d"), ("b", "c"))) == (totals.usd, totals.unpriced)
        assert [None, None, Decimal("0.00001125")] == [line.usd for line in totals.line_items]


class TestPrices:
    @pytest.mark.parametrize(
        ("given_amount", "meant"),
        [(2, "2"), ("0.15", "0.15"), (0.1, "0.1"), (1e-7, "1E-7"), (Decimal("-0"), "0")],
    )
    def test_a_price_is_the_number_that_was_written(self, given_amount: Any, meant: str) -> None:
        assert Decimal(meant) == Price(given_amount, 0).input_usd_per_million
        assert not Price(given_amount, 0).input_usd_per_million.is_signed()

    @pytest.mark.parametrize(
        "amount",
        [-1, "-0.01", "NaN", float("nan"), float("inf"), "sNaN", "2 USD", "", 10**9, "1E-41", True, None, []],
    )
    def test_an_invalid_price_is_refused(self, amount: Any) -> None:
        with pytest.raises(InvalidArgumentError) as refused:
            Price(1, amount)
        assert "output_usd_per_million" == refused.value.field
        assert "output_usd_per_million" in str(refused.value)

    @pytest.mark.parametrize(
        "table",
        [
            {"gpt-5": Price(1, 1)},
            {("openai",): Price(1, 1)},
            {("openai", ""): Price(1, 1)},
            {("openai", None): Price(1, 1)},
            {GPT: 3},
        ],
    )
    def test_a_table_of_other_values_is_refused(self, table: Any) -> None:
        with pytest.raises(InvalidArgumentError) as refused:
            fold([], table)
        assert "prices" == refused.value.field

    def test_prices_are_values_and_totals_keep_their_own_copy(self) -> None:
        price = Price(1, "2.5")
        assert price == pickle.loads(pickle.dumps(price))
        assert 1 == len({price, Price("1", Decimal("2.5"))})
        with pytest.raises(AttributeError):
            price.input_usd_per_million = Decimal(0)  # type: ignore[misc]
        table = dict(PRICES)
        totals = CostTotals(table)
        table.clear()
        assert () == totals.step(llm_call(usage=tokens(1, 1))).unpriced


class TestLaws:
    @given(events, prices)
    def test_a_fold_resumed_anywhere_is_the_fold_from_the_beginning(self, log: Any, table: Any) -> None:
        whole = fold(log, table)
        for cursor in range(len(log) + 1):
            stored = pickle.loads(pickle.dumps(fold(log[:cursor], table)))
            assert whole == fold(log[cursor:], initial=stored) == fold(log[cursor:], table, initial=stored)

    @given(events, events, prices)
    def test_the_sum_of_folds_is_the_fold_of_both(self, one: Any, other: Any, table: Any) -> None:
        together = fold(one, table) + fold(other, table)
        assert fold(one + other, table) == together == fold(one, table).combine(fold(other, table))
        assert hash(fold(one + other, table)) == hash(together)

    @given(st.tuples(events, events, events), st.tuples(prices, prices, prices))
    def test_sums_do_not_depend_on_order_even_with_different_prices(self, logs: Any, tables: Any) -> None:
        a, b, c = (fold(log, table) for log, table in zip(logs, tables, strict=True))
        assert a + b == b + a
        assert (a + b) + c == a + (b + c)
        assert a + CostTotals() == a == CostTotals() + a

    @given(events.flatmap(lambda log: st.tuples(st.just(log), st.permutations(log))), prices)
    def test_merged_runs_cost_the_same_in_any_order(self, orders: Any, table: Any) -> None:
        one, other = orders
        assert fold(one, table) == fold(other, table)
        assert fold(one, table).usd == fold(other, table).usd
        assert fold(one, table).line_items == fold(other, table).line_items

    @given(events, prices, st.integers(1, 40))
    def test_money_is_exact_whatever_the_decimal_context(self, log: Any, table: Any, precision: int) -> None:
        with decimal.localcontext(prec=precision):
            usd = fold(log, table).usd
        expected: Fraction | None = Fraction(0)
        for event in log:
            if isinstance(event, NodeLLMCall):
                call, usage = event.llm_call, event.llm_call.usage or TokenUsage()
                price = table.get((call.provider, call.model))
                known = (usage.input_tokens or 0) + (usage.output_tokens or 0)
                if None in (usage.input_tokens, usage.output_tokens) and (usage.total_tokens or 0) > known:
                    price = None
                if price is None or expected is None:
                    expected = None
                    continue
                expected += Fraction(price.input_usd_per_million) * (usage.input_tokens or 0) / 10**6
                expected += Fraction(price.output_usd_per_million) * (usage.output_tokens or 0) / 10**6
        assert expected == (None if usd is None else Fraction(usd))

    @given(events, prices)
    def test_a_step_leaves_the_value_before_it_as_it_was(self, log: Any, table: Any) -> None:
        totals = CostTotals(table)
        before = [(totals, repr(totals))]
        for event in log:
            totals = totals.step(event)
            before.append((totals, repr(totals)))
        assert [] == [text for value, text in before if repr(value) != text]


class TestTheValue:
    def test_costs_counted_with_other_prices_stay_unchanged(self) -> None:
        cheap = fold([llm_call(usage=tokens(10**6, 0))], {GPT: Price(1, 0)})
        dear = fold([llm_call(usage=tokens(10**6, 0))], {GPT: Price(3, 0)})
        assert Decimal(4) == (cheap + dear).usd
        assert Decimal(5) == (cheap + dear).step(llm_call(usage=tokens(10**6, 0))).usd
        assert Decimal(7) == (dear + cheap).step(llm_call(usage=tokens(10**6, 0))).usd

    def test_it_can_be_made_from_stored_line_items(self) -> None:
        totals = fold([llm_call(usage=tokens(1, 2)), llm_call("a", "b")], PRICES)
        assert totals == CostTotals(PRICES, totals.line_items)
        assert totals + totals == CostTotals(PRICES, totals.line_items * 2)
        assert (("a", "b"), GPT) == (totals + fold([llm_call(usage=tokens(1, 1))])).unpriced

    def test_it_is_immutable_and_not_a_number(self) -> None:
        totals = CostTotals()
        with pytest.raises(AttributeError, match="immutable"):
            totals.usd = Decimal(0)  # type: ignore[misc]
        with pytest.raises(AttributeError, match="immutable"):
            del totals._lines
        with pytest.raises(TypeError):
            totals + 1  # type: ignore[operator]
        assert totals != 0

    def test_its_repr_has_the_tokens_and_the_cost(self) -> None:
        assert (
            "CostTotals(requests=1, input_tokens=0, output_tokens=0, total_tokens=0, unmetered=1, usd=None, "
            "unpriced=(('openai', 'gpt-5'),))"
        ) == repr(fold([llm_call()]))


def summary(total: int, *lines: tuple[str, str, int, int, int, int]) -> RunCostSummary:
    return RunCostSummary(total, tuple(RunCostLineItem(*line) for line in lines))


class TestAgainstTheService:
    SPENT = fold([llm_call(usage=tokens(100_000, 20_000)), llm_call("", "", usage=tokens(1, 2))], PRICES)

    def test_money_may_differ_by_a_cent(self) -> None:
        for cents in (32, 33, 34):
            lines = (*GPT, 1, 100_000, 20_000, cents), ("", "", 1, 1, 2, 0)
            found = self.SPENT.differences(summary(cents, *lines))
            assert (cents == 34) == bool(found)
        assert (CostDifference(*GPT, "usd", Decimal("0.325"), Decimal("0.34")),) == found
        assert ["openai/gpt-5: usd 0.3250, the service reports 0.3400"] == [str(one) for one in found]

    def test_requests_and_tokens_must_be_equal(self) -> None:
        found = self.SPENT.differences(summary(33, (*GPT, 2, 100_001, 19_999, 33), ("", "", 1, 1, 2, 0)))
        assert ["requests", "input_tokens", "output_tokens"] == [difference.field for difference in found]

    def test_a_missing_line_is_a_difference_on_either_side(self) -> None:
        found = self.SPENT.differences(summary(33, (*GPT, 1, 100_000, 20_000, 33), ("x", "y", 1, 0, 0, 0)))
        assert [("", "requests", 1, 0), ("", "input_tokens", 1, 0), ("", "output_tokens", 2, 0)] == [
            (one.provider, one.field, one.ours, one.service) for one in found[:3]
        ]
        assert [CostDifference("x", "y", "requests", 0, 1)] == list(found[3:])

    def test_the_sum_is_compared_where_it_is_known(self) -> None:
        spent = fold([llm_call(usage=tokens(100_000, 20_000))], PRICES)
        (found,) = spent.differences(summary(40, (*GPT, 1, 100_000, 20_000, 33)))
        assert "total: usd 0.3250, the service reports 0.4000" == str(found)

    def test_a_sum_of_rounded_lines_agrees(self) -> None:
        names_ = [("openai", f"m{number}") for number in range(8)]
        spent = fold(
            [llm_call(*name, usage=tokens(6000)) for name in names_], dict.fromkeys(names_, Price(1, 0))
        )
        assert () == spent.differences(summary(8, *((*name, 1, 6000, 0, 1) for name in names_)))
