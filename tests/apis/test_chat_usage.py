"""Token counts, also those that upstream should not send."""

import math
from typing import Any

import pytest

from codexproxy.apis.openai_chat.options import usage_of


@pytest.mark.parametrize("usage", [None, {}, [], "many", 7])
def test_what_is_no_usage_is_none(usage: Any) -> None:
    assert usage_of(usage) is None


@pytest.mark.parametrize("count", [None, "3", [], True, -1, math.nan, math.inf])
def test_what_is_no_count_is_nought(count: Any) -> None:
    usage = usage_of({"input_tokens": count, "output_tokens": 2, "input_tokens_details": count})
    assert usage is not None
    assert (usage["prompt_tokens"], usage["completion_tokens"], usage["total_tokens"]) == (0, 2, 2)
