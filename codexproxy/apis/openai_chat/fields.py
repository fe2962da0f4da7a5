"""Every field of a Chat Completions request, and what becomes of it.

One table for the code, for ``docs/compatibility.md`` and for the test that
proves it. Fates: *mapped* to the Responses API, *emulated* here because the
backend has nothing like it, *ignored* and reported, *refused* with a reason.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

MAPPED, EMULATED, IGNORED, REFUSED = "mapped", "emulated", "ignored", "refused"


@dataclass(frozen=True, slots=True)
class Field:
    """One request field.

    Attributes:
        name: Its name in the request.
        fate: What becomes of it.
        note: How, in one sentence for the documentation.
        neutral: Values that ask for nothing (the platform's defaults); they are not reported.
        origin: ``platform`` for CreateChatCompletionRequest, ``responses`` for the
            Responses-shaped bodies that some clients post here, ``client`` for what
            clients add of their own.
    """

    name: str
    fate: str
    note: str
    neutral: tuple[Any, ...] = ()
    origin: str = "platform"

    def is_neutral(self, value: Any) -> bool:
        """Whether the value asks for nothing."""
        return value is None or any(value == other and type(value) in _like(other) for other in self.neutral)


def _like(value: Any) -> tuple[type, ...]:
    # 1 and 1.0 ask for the same, 1 and True do not.
    return (int, float) if type(value) in (int, float) else (type(value),)


_SAMPLING = "The backend samples by its own settings."

PLATFORM = (
    Field("model", MAPPED, "Names, aliases, reversed names and effort suffixes; the answer echoes it."),
    Field(
        "messages",
        MAPPED,
        "All roles and part types but audio; leading system text becomes the instructions. "
        "`cache_control` is left out and named, here and in tools.",
    ),
    Field("stream", MAPPED, "Chunks as they come, or one object."),
    Field("tools", MAPPED, "Function and custom tools, nested or flat, and web search."),
    Field("tool_choice", MAPPED, "All forms, allowed_tools included."),
    Field("parallel_tool_calls", MAPPED, "Sent when there are tools."),
    Field("functions", MAPPED, "As tools; answers use function_call."),
    Field("function_call", MAPPED, "As tool_choice."),
    Field(
        "response_format",
        MAPPED,
        "As text.format; schemas are fitted to the backend and the answer fitted back. With `strict` an answer that "
        "misses its schema is asked for once more where it is not streamed; after that, and in a stream, it is an "
        "error. Without, it is delivered as it is, and x-codexproxy-adapted says `response_format:mismatch` where "
        "it is not streamed. What cannot be judged within a bounded number of steps is delivered with "
        "`response_format:unchecked`.",
    ),
    Field("reasoning_effort", MAPPED, "As reasoning.effort, clamped to what the model has."),
    Field("verbosity", MAPPED, "As text.verbosity, where the model has it."),
    Field("service_tier", MAPPED, "fast and priority; auto and default are what every turn gets.", ("auto", "default")),
    Field("web_search_options", MAPPED, "As the web_search tool; sources come back as annotations."),
    Field("prompt_cache_key", MAPPED, "The conversation's identity in the prompt cache."),
    Field("stop", EMULATED, "The answer is cut here and the upstream turn cancelled; at most 16 texts."),
    Field("max_tokens", EMULATED, "The answer is cut here by an estimate of its tokens; reasoning is not counted."),
    Field("max_completion_tokens", EMULATED, "As max_tokens; the smaller of both counts."),
    Field(
        "n",
        EMULATED,
        "As many turns run side by side; usage is their sum; n times the request is within MAX_BODY_BYTES.",
        (1,),
    ),
    Field("stream_options", EMULATED, "include_usage exactly; streams are never padded.", ({},)),
    Field("metadata", EMULATED, "Handed back with the final object; never sent upstream."),
    Field("store", IGNORED, "Nothing is kept for later retrieval.", (False,)),
    Field("temperature", IGNORED, _SAMPLING, (1,)),
    Field("top_p", IGNORED, _SAMPLING, (1,)),
    Field("frequency_penalty", IGNORED, _SAMPLING, (0,)),
    Field("presence_penalty", IGNORED, _SAMPLING, (0,)),
    Field("logit_bias", IGNORED, _SAMPLING, ({},)),
    Field("seed", IGNORED, _SAMPLING),
    Field("logprobs", IGNORED, "The backend does not return them.", (False, 0)),
    Field("top_logprobs", IGNORED, "The backend does not return them.", (0,)),
    Field("prediction", IGNORED, "The backend has no predicted outputs."),
    Field("user", IGNORED, "The backend knows the account only."),
    Field("safety_identifier", IGNORED, "The backend knows the account only."),
    Field("prompt_cache_retention", IGNORED, "The backend decides.", ("in_memory",)),
    Field("prompt_cache_options", IGNORED, "The backend decides.", ({},)),
    Field("moderation", IGNORED, "The backend has no such step."),
    Field("modalities", REFUSED, "Text only; audio is refused.", (["text"],)),
    Field("audio", REFUSED, "The backend does not support audio."),
)

RESPONSES = (
    Field("input", MAPPED, "A Responses-shaped body is taken as it is and answered as chat."),
    Field("instructions", MAPPED, "Put before the leading system text."),
    Field("text", MAPPED, "format and verbosity."),
    Field("include", MAPPED, "Joined to what is always asked for."),
    Field("max_output_tokens", EMULATED, "As max_tokens."),
    Field("previous_response_id", IGNORED, "Chat answers are not kept."),
    Field("conversation", IGNORED, "Conversations are not kept."),
    Field("background", IGNORED, "Chat answers while the caller waits.", (False,)),
    Field("truncation", IGNORED, "The backend decides.", ("disabled", "auto")),
    Field("max_tool_calls", IGNORED, "The backend decides."),
    Field("context_management", IGNORED, "The backend decides."),
    Field("prompt", IGNORED, "Stored prompts belong to the platform."),
    Field("client_metadata", MAPPED, "Passed on."),
)

CLIENT = (
    Field("reasoning", MAPPED, "effort and summary; enabled and exclude as OpenRouter has them."),
    Field("reasoning_summary", MAPPED, "As reasoning.summary; `none` turns it off, whatever the owner configured."),
    Field("reasoning_compat", EMULATED, "How reasoning is shown, for this request."),
    Field("include_reasoning", EMULATED, "false shows no reasoning.", (True,)),
    Field("thinking", MAPPED, "disabled is effort none; a budget becomes the nearest effort."),
    Field("enable_thinking", MAPPED, "false is effort none.", (True,)),
    Field("top_k", IGNORED, _SAMPLING),
    Field("min_p", IGNORED, _SAMPLING),
    Field("top_a", IGNORED, _SAMPLING),
    Field("repetition_penalty", IGNORED, _SAMPLING, (1,)),
    Field("best_of", IGNORED, "Use n.", (1,)),
    Field("chat_template_kwargs", IGNORED, "The backend has no templates.", ({},)),
)


def table(origin: str, *fields: Field) -> dict[str, Field]:
    """Fields by name, all of one origin."""
    return {field.name: replace(field, origin=origin) for field in fields}


FIELDS: Mapping[str, Field] = table("platform", *PLATFORM) | table("responses", *RESPONSES) | table("client", *CLIENT)


def ignored(payload: Mapping[str, Any], fields: Mapping[str, Field] = FIELDS) -> Iterator[str]:
    """Names of the fields that are not honoured, unknown ones included; what asks for nothing is not named."""
    for name, value in payload.items():
        field = fields.get(name)
        if field is None or (field.fate == IGNORED and not field.is_neutral(value)):
            yield _printable(name)


def _printable(name: str) -> str:
    # The names go into a header.
    return re.sub(r"[^\w.-]", "?", name[:64], flags=re.ASCII)
