"""A language model that only pretends: its words follow from the seed, the model's name and the prompt."""

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
"""The tool that asks a person."""

PRICES: Prices = {
    ("anthropic", "claude-haiku-4-5"): Price(1, 5),
    ("anthropic", "claude-sonnet-4-5"): Price(3, 15),
    ("openai", "gpt-4o"): Price("2.50", 10),
    ("openai", "gpt-4o-mini"): Price("0.15", "0.60"),
    ("xai", "grok-4"): Price(3, 15),
    ("google-ai-studio", "gemini-2.5-flash"): Price("0.30", "2.50"),
}
"""What the simulated models cost, for ``ops.cost_totals(PRICES)`` and its like.

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
"""Tokens and rounds that a prompt may ask for."""


class ModelFault(Exception):
    """The simulated provider's refusal, which fails the node."""


@dataclass(frozen=True)
class Reply:
    """What the model said, token by token, and the usage in tokens."""

    tokens: tuple[str, ...]
    usage: Mapping[str, int]

    @property
    def text(self) -> str:
        return "".join(self.tokens)

    def saying(self, text: str) -> Reply:
        """A reply to the same prompt, with another text."""
        tokens = _tokens(text)
        return Reply(tokens, _usage(self.usage["input_tokens"], len(tokens)))


@dataclass(frozen=True)
class ToolRequest:
    """A tool call that the model asks for; `arguments` is JSON text."""

    id: str
    name: str
    arguments: str

    def on_wire(self) -> dict[str, str]:
        return {"id": self.id, "name": self.name, "arguments": self.arguments}


def provider_of(model: str) -> str:
    """The provider behind a model's name; ``"simulated"`` for a name of nobody's.

    >>> provider_of("claude-sonnet-4-5"), provider_of("my-model")
    ('anthropic', 'simulated')
    """
    return next((provider for prefix, provider in _PROVIDERS if model.startswith(prefix)), "simulated")


def cents(provider: str, model: str, input_tokens: int, output_tokens: int) -> int:
    """US cents for that many tokens, half a cent rounded up; 0 for a model without a price.

    >>> cents("openai", "gpt-4o", 2_000, 0)  # 0.5 cents
    1
    """
    price = PRICES.get((provider, model), Price(0, 0))
    micro_usd = price.input_usd_per_million * input_tokens + price.output_usd_per_million * output_tokens
    usd = micro_usd / 1_000_000
    return int((usd * 100).quantize(Decimal(1), ROUND_HALF_UP))


def reply(seed: int, model: str, prompt: str, results: Sequence[tuple[str, str]] = ()) -> Reply:
    """Answer the prompt, and use the tool results (name, output) in the text.

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
    """JSON text that fits a schema."""
    return json.dumps(fill(schema, _dice(seed, model, prompt), _WORDS))


def call_tools(
    seed: int, model: str, prompt: str, step: int, tools: Sequence[Mapping[str, Any]]
) -> tuple[tuple[ToolRequest, ...], Mapping[str, int]]:
    """Ask for each of the tools once, with arguments that fit its parameters; and the usage in tokens."""
    dice = _dice(seed, model, prompt)
    calls: list[ToolRequest] = []
    for place, tool in enumerate(tools):
        name = str(tool["name"])
        parameters: Mapping[str, Any] = tool.get("parameters") or {}
        filled = _question(prompt) if name == USER_ASK else fill(parameters, dice, _WORDS)
        calls.append(ToolRequest(f"call_{step}_{place}_{dice.getrandbits(32):08x}", name, json.dumps(filled)))
    return tuple(calls), _usage(_count([prompt]), _count(call.arguments for call in calls))


def rounds(prompt: str) -> int:
    """How many steps ask for tools before the text: one, or what ``[[rounds: n]]`` says."""
    return _number(_wish(prompt).get("rounds"), 1)


def run_tool(seed: int, call: ToolRequest) -> str:
    """What a tool that the service executes itself gives back."""
    return f"{call.name}#{sha256(f'{seed} {call.name} {call.arguments}'.encode()).hexdigest()[:8]}"


def _wish(prompt: str) -> dict[str, str]:
    """The first marker. It lasts to the last brackets, so that its text may hold nested arrays."""
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
    question = _wish(prompt).get("ask") or "Shall I go on?"
    return {"question": question, "options": [{"label": "yes"}, {"label": "no"}], "allow_freeform": True}


def _tokens(text: str) -> tuple[str, ...]:
    return tuple(re.findall(r"\s*\S+|\s+\Z", text))


def _count(texts: Iterable[str]) -> int:
    return sum(len(re.findall(r"\w+|[^\w\s]", text)) for text in texts)


def _usage(spent: int, made: int) -> dict[str, int]:
    return {"input_tokens": spent, "output_tokens": made, "total_tokens": spent + made}
