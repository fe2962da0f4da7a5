"""Token counts in the words of Chat Completions and legacy completions."""

from typing import Any

from codexproxy.protocol.numbers import whole

Usage = dict[str, Any]


def usage_of(usage: Any) -> Usage | None:
    """Upstream's usage with ``prompt_tokens`` and ``completion_tokens``; None where upstream sent none."""
    if not isinstance(usage, dict) or not usage:
        return None
    prompt, completion = _count(usage, "input_tokens"), _count(usage, "output_tokens")
    # An answer that was cut here has an estimate only (compat/truncate/truncator.py).
    marks = {"estimated": True} if usage.get("estimated") is True else {}
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": _count(usage, "total_tokens") or prompt + completion,
        "prompt_tokens_details": {
            "cached_tokens": _count(usage.get("input_tokens_details"), "cached_tokens"),
            "cache_write_tokens": _count(usage.get("input_tokens_details"), "cache_write_tokens"),
            "audio_tokens": 0,
        },
        "completion_tokens_details": {
            "reasoning_tokens": _count(usage.get("output_tokens_details"), "reasoning_tokens"),
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
        **marks,
    }


def total(usages: list[Usage | None]) -> Usage | None:
    """The sum over the answers of one turn; each of them really spent its prompt."""
    known = [usage for usage in usages if usage]
    if not known:
        return None
    marks = {"estimated": True} if any("estimated" in usage for usage in known) else {}
    return _sum([{key: value for key, value in usage.items() if key != "estimated"} for usage in known]) | marks


def _sum(usages: list[Usage]) -> Usage:
    return {
        key: _sum([usage[key] for usage in usages]) if isinstance(value, dict) else sum(usage[key] for usage in usages)
        for key, value in usages[0].items()
    }


def _count(holder: Any, key: str) -> int:
    value = holder.get(key) if isinstance(holder, dict) else None
    return whole(value)
