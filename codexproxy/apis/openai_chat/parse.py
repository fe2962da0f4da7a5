"""A Chat Completions request into a turn: one step per subject, none looking back."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from codexproxy.apis.cache_marks import without_marks
from codexproxy.apis.openai_chat.fields import ignored
from codexproxy.apis.openai_chat.messages import Conversation, read_input, read_messages
from codexproxy.apis.openai_chat.options import REASONING_STYLES, ChatRenderOptions
from codexproxy.apis.openai_chat.schema import load
from codexproxy.apis.openai_chat.structured_output import StructuredOutput, read_text
from codexproxy.apis.openai_chat.tools import read_choice, read_function_call, read_functions, read_tools, web_search
from codexproxy.apis.validation_errors import bad_value, missing, unsupported, wrong_type, wrong_value
from codexproxy.compat.strict_schema.encode import to_strict
from codexproxy.compat.tool_names import rename_tools
from codexproxy.protocol.json_schema import schema_steps
from codexproxy.protocol.pacing import Pause, Steps, no_pause, paced
from codexproxy.protocol.request import Body, Caller, PlanningHints, Turn

# Sent as they are; ``plan`` settles the rest of them.
_PASSED = ("service_tier", "prompt_cache_key", "include", "client_metadata")

# Characters of a text that are looked through at once.
_SLICE = 1_000_000

# The API wants the word in an input message (not in the instructions) for this format.
_JSON_REMINDER = "Answer with one JSON object."


@dataclass(slots=True)
class Draft:
    """A turn in the making.

    Attributes:
        fields: The request's own fields.
        body: The body so far.
        notes: What was changed on the way.
        ignored: What is not honoured.
        pause: Lets others run.
        steps: What the schemas of the request may take together.
        render: What rendering needs again.
        planning: How planning treats the turn.
    """

    fields: dict[str, Any]
    body: Body
    notes: list[str]
    ignored: list[str]
    pause: Pause
    steps: Steps
    render: ChatRenderOptions
    planning: PlanningHints = PlanningHints()


def parse(payload: dict[str, Any], caller: Caller, style: str, pause: Pause = no_pause) -> Turn:
    """Checks a request and makes it a turn.

    Args:
        payload: The request's JSON object.
        caller: Who asks.
        style: How reasoning is shown unless the request says otherwise.
        pause: Lets others run, now and then.

    Raises:
        InvalidRequest: ``param`` names the path of the offending field.
    """
    fields, notes = load(payload)
    fields, marks = without_marks(fields, pause)
    body = {"model": fields.get("model", "")}
    draft = Draft(fields, body, notes, [*ignored(fields), *marks], pause, schema_steps(pause), _render(fields, style))
    for step in _STEPS:
        step(draft)
    body, names = rename_tools(draft.body, pause)
    stop, cap = read_stop(fields.get("stop")), read_cap(fields)
    turn = Turn(
        model=fields.get("model", ""),
        body=body,
        stream=fields.get("stream", False),
        caller=caller,
        stop=stop,
        max_tokens=cap,
        count=read_count(fields),
        tool_names=names,
        planning=draft.planning,
        render=draft.render,
    )
    emulated = [f"{name}:emulated" for name, given in (("stop", stop), ("max_tokens", cap)) if given]
    renamed = ["tools:names_shortened"] if names else []
    return turn.with_notes(ignored=tuple(draft.ignored), adapted=(*draft.notes, *renamed, *emulated))


def _render(fields: dict[str, Any], style: str) -> ChatRenderOptions:
    return ChatRenderOptions(
        reasoning=read_style(fields, style),
        legacy="functions" in fields and "tools" not in fields,
        include_usage=wants_usage(fields),
        metadata=_metadata(fields.get("metadata")),
    )


def _metadata(metadata: dict[str, Any] | None) -> dict[str, Any] | None:
    # Handed back with the answer; the body that is sent has no room for it.
    for key, value in (metadata or {}).items():
        if not isinstance(value, str):
            raise bad_value(f"metadata.{key}"[:80], "The values of `metadata` must be strings.")
    return metadata


def _refuse_audio(draft: Draft) -> None:
    if "audio" in draft.fields:
        raise unsupported("audio", "The backend does not support audio. Please leave `audio` out.")
    if any(kind != "text" for kind in draft.fields.get("modalities", [])):
        raise unsupported("modalities", "The backend answers in text only. Please ask for the modality 'text'.")


def _read_tools(draft: Draft) -> None:
    fields = draft.fields
    tools = read_tools(fields.get("tools", []), pause=draft.pause)
    if "functions" in fields:
        tools += read_functions(fields["functions"])
    if "web_search_options" in fields and not any(tool["type"] == "web_search" for tool in tools):
        tools.append(web_search(fields["web_search_options"]))
    _fit_tools(draft, tools)
    draft.body["tools"] = tools
    choice = _choice(fields, tools)
    if not tools:
        del draft.body["tools"]
        return
    if choice is not None:
        draft.body["tool_choice"] = choice
    if "parallel_tool_calls" in fields or draft.render.legacy:
        # ``function_call`` has room for one call.
        parallel = fields.get("parallel_tool_calls", True) and not draft.render.legacy
        draft.body["parallel_tool_calls"] = parallel


def _fit_tools(draft: Draft, tools: list[dict[str, Any]]) -> None:
    # Arguments stream as they come, so they cannot be turned back into another
    # shape: a schema that would need it is sent without strict mode.
    for position, tool in enumerate(tools):
        if tool.get("strict") is not True:
            continue
        fitted = to_strict(tool["parameters"], strict=True, path=f"tools[{position}].parameters", steps=draft.steps)
        if fitted.restorer is not None:
            tool["strict"] = False
            draft.notes.append("tools:strict_off")
        elif fitted.schema != tool["parameters"]:
            tool["parameters"] = fitted.schema
            draft.notes.append("tools:schema_fitted")


def _choice(fields: dict[str, Any], tools: list[dict[str, Any]]) -> Any:
    if "tool_choice" in fields:
        return read_choice(fields["tool_choice"], tools)
    if "function_call" in fields:
        return read_function_call(fields["function_call"], tools)
    return None


def _read_conversation(draft: Draft) -> None:
    customs = frozenset(tool["name"] for tool in draft.body.get("tools", []) if tool["type"] == "custom")
    conversation = _conversation(draft.fields, customs, draft.pause)
    draft.notes += conversation.notes
    draft.ignored += conversation.ignored
    given = draft.fields.get("instructions")
    leading = "\n\n".join([given, *conversation.leading] if given else conversation.leading)
    if not conversation.items:
        # Nothing but system text: a turn needs an input.
        conversation.items.append(_developer(leading))
        leading = ""
    draft.body["input"] = conversation.items
    if leading:
        draft.body["instructions"] = leading


def _conversation(fields: dict[str, Any], customs: frozenset[str], pause: Pause) -> Conversation:
    if fields.get("messages") or "input" not in fields:
        if "messages" not in fields:
            raise missing("messages")
        return read_messages(fields["messages"], customs, pause)
    return read_input(fields["input"], customs, pause)


def _developer(text: str) -> dict[str, Any]:
    return {"type": "message", "role": "developer", "content": [{"type": "input_text", "text": text}]}


def _read_reasoning(draft: Draft) -> None:
    reasoning = read_reasoning(draft.fields)
    if reasoning:
        draft.body["reasoning"] = reasoning
    if draft.fields.get("reasoning_effort"):
        draft.planning = PlanningHints(effort_param="reasoning_effort")


def _read_text(draft: Draft) -> None:
    text = read_text(draft.fields)
    format = text.get("format")
    if format:
        draft.render = replace(draft.render, json_mode=True)
    if format and format["type"] == "json_schema":
        _fit_format(draft, format)
    if format == {"type": "json_object"} and not _mentions_json(draft.body["input"], draft.pause):
        draft.body["input"] = [_developer(_JSON_REMINDER), *draft.body["input"]]
        draft.notes.append("response_format:json_reminder")
    if text:
        draft.body["text"] = text


def _mentions_json(items: list[dict[str, Any]], pause: Pause) -> bool:
    lists = (item["content"] for item in paced(items, pause) if isinstance(item.get("content"), list))
    parts = (part for content in lists for part in paced(content, pause) if isinstance(part, dict))
    return any(_says_json(str(part.get("text") or ""), pause) for part in parts)


def _says_json(text: str, pause: Pause) -> bool:
    for start in range(0, len(text), _SLICE):
        if start:
            pause()
        if "json" in text[start : start + _SLICE + len("json")].lower():
            return True
    return False


def _fit_format(draft: Draft, format: dict[str, Any]) -> None:
    schema, strict = format["schema"], format["strict"]
    path = "response_format.json_schema.schema" if "response_format" in draft.fields else "text.format.schema"
    fitted = to_strict(schema, strict=strict, path=path, steps=draft.steps)
    draft.render = replace(draft.render, shape=StructuredOutput(schema, strict, fitted.restorer, draft.pause))
    if fitted.schema != schema:
        format["schema"] = fitted.schema
        draft.notes.append("response_format:schema_fitted")


def _read_stream_options(draft: Draft) -> None:
    if draft.fields.get("stream_options") and not draft.fields.get("stream"):
        draft.ignored.append("stream_options")


def _pass_on(draft: Draft) -> None:
    draft.body.update({name: draft.fields[name] for name in _PASSED if name in draft.fields})


_STEPS: tuple[Callable[[Draft], None], ...] = (
    _refuse_audio,
    _read_tools,
    _read_conversation,
    _read_reasoning,
    _read_text,
    _read_stream_options,
    _pass_on,
)


Json = dict[str, Any]

_STYLE_ALIASES = {"think-tags": "think", "think_tags": "think", "think": "think", "off": "none", "hidden": "none"}

# A thinking budget in tokens -> the effort it stands for.
_BUDGETS = ((1024, "low"), (8192, "medium"))
_FIELDS = ("effort", "summary", "generate_summary", "context", "mode")


def read_reasoning(fields: Json) -> Json:
    """``reasoning`` of the Responses API, with nothing in it that the caller did not ask for.

    Raises:
        InvalidRequest: A field has the wrong type.
    """
    given = fields.get("reasoning")
    if given is not None and not isinstance(given, dict):
        raise wrong_type("reasoning", "an object", given)
    given = given or {}
    asked = {key: given[key] for key in _FIELDS if given.get(key) is not None}
    for key, value in asked.items():
        if not isinstance(value, str):
            raise wrong_type(f"reasoning.{key}", "a string", value)
    effort = _effort(fields, given)
    if effort:
        asked["effort"] = effort
    if fields.get("reasoning_summary"):
        asked["summary"] = fields["reasoning_summary"]
    return asked


def _effort(fields: Json, given: Json) -> str | None:
    explicit = fields.get("reasoning_effort") or given.get("effort")
    if explicit:
        return str(explicit)
    if given.get("enabled") is False or fields.get("enable_thinking") is False:
        return "none"
    return _of_budget(given.get("max_tokens")) or _of_thinking(fields.get("thinking"))


def _of_thinking(thinking: Any) -> str | None:
    if thinking is False:
        return "none"
    if not isinstance(thinking, dict):
        return None
    return "none" if thinking.get("type") == "disabled" else _of_budget(thinking.get("budget_tokens"))


def _of_budget(budget: Any) -> str | None:
    if not isinstance(budget, int | float) or isinstance(budget, bool) or budget <= 0:
        return None
    return next((effort for most, effort in _BUDGETS if budget <= most), "high")


def read_style(fields: Json, default: str) -> str:
    """How reasoning is shown: the request's wish, else the owner's.

    Raises:
        InvalidRequest: The style is unknown.
    """
    given = fields.get("reasoning")
    if fields.get("include_reasoning") is False or (isinstance(given, dict) and given.get("exclude") is True):
        return "none"
    style = str(fields.get("reasoning_compat") or default).lower()
    style = _STYLE_ALIASES.get(style, style)
    if style not in REASONING_STYLES:
        raise wrong_value("reasoning_compat", style, REASONING_STYLES)
    return style


# The platform's own bound for ``n``.
MOST_ANSWERS = 128

# Far beyond any real one, and the platform's own bound is 4; what may begin one is compared with every delta.
LONGEST_STOP = 1000
MOST_STOPS = 16

_CAPS = ("max_completion_tokens", "max_tokens", "max_output_tokens")


def read_stop(stop: Any) -> tuple[str, ...]:
    """The texts at which the answer ends; empty ones are none.

    Raises:
        InvalidRequest: It is neither a string nor a list of strings, or there are too many or too long ones.
    """
    if stop is None:
        return ()
    if isinstance(stop, str):
        stop = [stop]
    if not isinstance(stop, list):
        raise wrong_type("stop", "a string or an array of strings", stop)
    for position, entry in enumerate(stop):
        if not isinstance(entry, str):
            raise wrong_type(f"stop[{position}]", "a string", entry)
        if len(entry) > LONGEST_STOP:
            raise bad_value(f"stop[{position}]", f"A stop text may have at most {LONGEST_STOP} characters.")
    texts = tuple(dict.fromkeys(entry for entry in stop if entry))
    if len(texts) > MOST_STOPS:
        raise bad_value("stop", f"There may be at most {MOST_STOPS} stop texts; the request has {len(texts)}.")
    return texts


def read_cap(fields: dict[str, Any]) -> int | None:
    """The most tokens the answer may have; the smallest of the fields that say so.

    Raises:
        InvalidRequest: One of them is below 1.
    """
    caps = {name: fields[name] for name in _CAPS if name in fields}
    for name, cap in caps.items():
        if cap < 1:
            raise bad_value(name, f"Invalid value for '{name}': {cap}. It must be at least 1.")
    return min(caps.values()) if caps else None


def read_count(fields: dict[str, Any]) -> int:
    """How many answers are wanted.

    Raises:
        InvalidRequest: It is below 1 or beyond the platform's own bound.
    """
    count: int = fields.get("n", 1)
    if not 1 <= count <= MOST_ANSWERS:
        raise bad_value("n", f"Invalid value for 'n': {count}. It must be between 1 and {MOST_ANSWERS}.")
    return count


def wants_usage(fields: dict[str, Any]) -> bool:
    """Whether the stream ends with a usage chunk."""
    options = fields.get("stream_options") or {}
    return bool(fields.get("stream")) and options.get("include_usage") is True
