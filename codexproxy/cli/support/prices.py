"""What turns would have cost at the prices of the OpenAI API: an estimate, never a bill.

A subscription is not billed by the token. The table holds the standard prices
for short contexts as OpenAI had published them by ``AS_OF``; tiers, long
contexts and cache writes are left out.
"""

from dataclasses import dataclass

AS_OF = "2026-10-26"


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


_GPT_5 = Price(1.25, 0.125, 10.0)
_GPT_5_2 = Price(1.75, 0.175, 14.0)
_MINI = Price(0.25, 0.025, 2.0)

PRICES = {
    "gpt-5": _GPT_5,
    "gpt-5-codex": _GPT_5,
    "gpt-5-mini": _MINI,
    "gpt-5-codex-mini": _MINI,
    "gpt-5.1": _GPT_5,
    "gpt-5.1-codex": _GPT_5,
    "gpt-5.1-codex-max": _GPT_5,
    "gpt-5.1-codex-mini": _MINI,
    "gpt-5.2": _GPT_5_2,
    "gpt-5.2-codex": _GPT_5_2,
    "gpt-5.3-codex": _GPT_5_2,
    "gpt-5.4": Price(2.5, 0.25, 15.0),
    "gpt-5.4-mini": Price(0.75, 0.075, 4.5),
    "gpt-5.5": Price(5.0, 0.5, 30.0),
    "gpt-5.6-sol": Price(4.0, 0.4, 20.0),
    "gpt-5.6-terra": Price(2.0, 0.2, 12.0),
    "gpt-5.6-luna": Price(0.2, 0.02, 1.2),
    "gpt-6-astra": Price(10.0, 1.0, 50.0),
    "gpt-6-sol": Price(2.0, 0.2, 10.0),
    "gpt-6-luna": Price(0.1, 0.01, 0.5),
    "gpt-6.1-terra": Price(1.0, 0.05, 5.0),
}
