"""Prices of the OpenAI API, to estimate what turns would have cost there; a subscription is not billed by the token.

``prices.json`` holds the standard prices for short contexts as published by ``AS_OF``;
tiers, long contexts and cache writes are left out.
"""

import json
from dataclasses import dataclass
from importlib import resources


@dataclass(frozen=True, slots=True)
class Price:
    """US dollars per million tokens.

    Attributes:
        input: Tokens read that were not cached.
        cached: Tokens read from the cache.
        output: Tokens written, reasoning included.
    """

    input: float
    cached: float
    output: float

    def of(self, input_tokens: int, cached_tokens: int, output_tokens: int) -> float:
        """Dollars for so many tokens; the input holds the cached ones."""
        fresh = max(0, input_tokens - cached_tokens)
        return (fresh * self.input + cached_tokens * self.cached + output_tokens * self.output) / 1e6


def _read() -> tuple[str, dict[str, Price]]:
    table = json.loads(resources.files("codexproxy.metering").joinpath("prices.json").read_text(encoding="utf-8"))
    return table["as_of"], {model: Price(**price) for model, price in table["models"].items()}


# The day of the list, and the price of each model.
AS_OF, PRICES = _read()
