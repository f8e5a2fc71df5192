"""A simulated language model: its texts follow from the seed, the name of the model and the prompt."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal
from hashlib import sha256
from typing import Any

from rxruns.costs._prices import Price, Prices
from rxruns.devserver._filling import fill

__all__ = [
    "PRICES",
    "USER_ASK",
    "ModelFault",
    "Reply",
    "ToolRequest",
    "call_tools",
    "cents",
    "fitting",
    "provider_of",
    "reply",
    "rounds",
    "run_tool",
]

USER_ASK = "user_ask"
"""The tool that asks the user."""

PRICES: Prices = {
    ("anthropic", "claude-haiku-4-5"): Price(1, 5),
    ("anthropic", "claude-sonnet-4-5"): Price(3, 15),
    ("openai", "gpt-4o"): Price("2.50", 10),
    ("openai", "gpt-4o-mini"): Price("0.15", "0.60"),
    ("xai", "grok-4"): Price(3, 15),
    ("google-ai-studio", "gemini-2.5-flash"): Price("0.30", "2.50"),
}
"""Prices of the simulated models, for ``ops.cost_totals(PRICES)``.

Any other model name works as well and costs nothing.
"""

_PROVIDERS = (("claude", "anthropic"), ("gpt", "openai"), ("grok", "xai"), ("gemini", "google-ai-studio"))
_TEXT = (
    "the answer depends on what each part of it costs and on who has to wait so a short plan with two clear "
    "steps beats long advice keep notes of every change then look again at numbers you trust because small "
    "errors grow fast near an edge while simple tests find them early"
)
_WORDS = _TEXT.split()
_MARKER = re.compile(r"\[\[(fail|say|ask|tokens|rounds):")
_MOST = 1_000_000
"""The most tokens or rounds that a prompt can request."""


class ModelFault(Exception):
    """An error of the simulated provider, which fails the node."""

    code = "PROVIDER_ERROR"


@dataclass(frozen=True)
class Reply:
    """The output of the model, token by token, and the usage in tokens."""

    tokens: tuple[str, ...]
    usage: Mapping[str, int]

    @property
    def text(self) -> str:
        return "".join(self.tokens)

    def with_text(self, text: str) -> Reply:
        """Return a reply to the same prompt with another text."""
        tokens = _tokens(text)
        return Reply(tokens, _usage(self.usage["input_tokens"], len(tokens)))


@dataclass(frozen=True)
class ToolRequest:
    """A tool call by the model; `arguments` is JSON text."""

    id: str
    name: str
    arguments: str

    def on_wire(self) -> dict[str, str]:
        return {"id": self.id, "name": self.name, "arguments": self.arguments}


def provider_of(model: str) -> str:
    """Return the provider of a model; ``"simulated"`` for an unknown name.

    >>> provider_of("claude-sonnet-4-5"), provider_of("my-model")
    ('anthropic', 'simulated')
    """
    return next((provider for prefix, provider in _PROVIDERS if model.startswith(prefix)), "simulated")


def cents(provider: str, model: str, input_tokens: int, output_tokens: int) -> int:
    """Return the price in US cents, half a cent rounded up; 0 for a model without a price.

    >>> cents("openai", "gpt-4o", 2_000, 0)  # 0.5 cents
    1
    """
    price = PRICES.get((provider, model), Price(0, 0))
    micro_usd = price.input_usd_per_million * input_tokens + price.output_usd_per_million * output_tokens
    usd = micro_usd / 1_000_000
    return int((usd * 100).quantize(Decimal(1), ROUND_HALF_UP))


def reply(seed: int, model: str, prompt: str, results: Sequence[tuple[str, str]] = ()) -> Reply:
    """Reply to a prompt, and quote the tool results (name, output) in the text.

    Raises:
        ModelFault: the prompt holds ``[[fail: message]]``, or the model is called ``sim-fail``.

    >>> reply(0, "gpt-4o", "hello") == reply(0, "gpt-4o", "hello")
    True
    >>> reply(0, "gpt-4o", "[[say: good morning]]").text
    'good morning'
    """
    wish = _wish(prompt)
    if "fail" in wish or model.startswith("sim-fail"):
        raise ModelFault(wish.get("fail") or f"the model {model} fails on request")
    lead = [f"{name} says {output}. " for name, output in results]
    text = "".join(lead) + (wish["say"] if "say" in wish else _prose(_dice(seed, model, prompt), wish))
    tokens = _tokens(text)
    spent = _count([prompt, *(output for _, output in results)])
    return Reply(tokens, _usage(spent, len(tokens)))


def fitting(seed: int, model: str, prompt: str, schema: Mapping[str, Any]) -> str:
    """Return JSON text that fits a schema."""
    return json.dumps(fill(schema, _dice(seed, model, prompt), _WORDS))


def call_tools(
    seed: int, model: str, prompt: str, step: int, tools: Sequence[Mapping[str, Any]]
) -> tuple[tuple[ToolRequest, ...], Mapping[str, int]]:
    """Call each tool once, with arguments that fit its parameters. Returns the calls and the usage."""
    dice = _dice(seed, model, prompt)
    calls: list[ToolRequest] = []
    for place, tool in enumerate(tools):
        name = str(tool["name"])
        parameters: Mapping[str, Any] = tool.get("parameters") or {}
        filled = _question(prompt) if name == USER_ASK else fill(parameters, dice, _WORDS)
        calls.append(ToolRequest(f"call_{step}_{place}_{dice.getrandbits(32):08x}", name, json.dumps(filled)))
    return tuple(calls), _usage(_count([prompt]), _count(call.arguments for call in calls))


def rounds(prompt: str) -> int:
    """Return the number of steps with tool calls before the text: one, or the n of ``[[rounds: n]]``."""
    return _number(_wish(prompt).get("rounds"), 1)


def run_tool(seed: int, call: ToolRequest) -> str:
    """Return the output of a tool that the service runs itself."""
    return f"{call.name}#{sha256(f'{seed} {call.name} {call.arguments}'.encode()).hexdigest()[:8]}"


def _wish(prompt: str) -> dict[str, str]:
    """Find the first marker. It ends at the last brackets, so that its text can hold nested arrays."""
    found = _MARKER.search(prompt)
    end = prompt.rfind("]]", found.end()) if found else -1
    return {found[1]: prompt[found.end() : end].strip()} if found and end >= 0 else {}


def _number(text: str | None, default: int) -> int:
    return min(int(text[:8]), _MOST) if text and text.isdecimal() else default


def _dice(seed: int, model: str, prompt: str) -> random.Random:
    return random.Random(sha256(f"{seed}\n{model}\n{prompt}".encode()).digest())


def _prose(dice: random.Random, wish: Mapping[str, str]) -> str:
    words = dice.choices(_WORDS, k=_number(wish.get("tokens"), dice.randint(8, 24)))
    return " ".join(words).capitalize() + ("" if "tokens" in wish else ".")


def _question(prompt: str) -> dict[str, Any]:
    question = _wish(prompt).get("ask") or "Shall I continue?"
    return {"question": question, "options": [{"label": "yes"}, {"label": "no"}], "allow_freeform": True}


def _tokens(text: str) -> tuple[str, ...]:
    return tuple(re.findall(r"\s*\S+|\s+\Z", text))


def _count(texts: Iterable[str]) -> int:
    return sum(len(re.findall(r"\w+|[^\w\s]", text)) for text in texts)


def _usage(spent: int, made: int) -> dict[str, int]:
    return {"input_tokens": spent, "output_tokens": made, "total_tokens": spent + made}
