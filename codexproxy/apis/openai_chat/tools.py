"""Tools and tool choices of Chat Completions into those of the Responses API.

Each tool and the choice are normalised by themselves: nested (chat), flat
(Responses) and legacy forms may stand side by side (docs/reference/clients.md#cursors-mixed-forms).
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from codexproxy.apis.validation_errors import bad_value, missing, wrong_type, wrong_value
from codexproxy.protocol.pacing import Pause, no_pause, paced

Tool = dict[str, Any]

# Tools that run upstream, or whose calls chat has no words for; they are sent as they are.
_HOSTED = frozenset(
    (
        "web_search",
        "tool_search",
        "namespace",
        "local_shell",
        "shell",
        "image_generation",
        "mcp",
        "code_interpreter",
        "file_search",
        "computer_use_preview",
        "computer",
        "apply_patch",
    )
)
_SEARCH_ALIASES = frozenset({"web_search_preview", "web_search_preview_2025_03_11", "web_search_2025_08_26"})
_MODES = ("none", "auto", "required")
_SYNONYMS = {"any": "required"}


def read_tools(tools: list[Any], path: str = "tools", pause: Pause = no_pause) -> list[Tool]:
    """The tools in the words of the Responses API.

    Raises:
        InvalidRequest: A tool is malformed or of an unknown type.
    """
    return [_tool(tool, f"{path}[{position}]") for position, tool in enumerate(paced(tools, pause))]


def read_functions(functions: list[Any]) -> list[Tool]:
    """Legacy ``functions`` as tools.

    Raises:
        InvalidRequest: A function is malformed.
    """
    return [_function(_object(entry, f"functions[{n}]"), f"functions[{n}]") for n, entry in enumerate(functions)]


def _tool(tool: Any, path: str) -> Tool:
    tool = _object(tool, path)
    kind = tool.get("type", "function")
    if kind == "function":
        return _function(*_nested(tool, "function", path))
    if kind == "custom":
        return _custom(*_nested(tool, "custom", path))
    return {**tool, "type": _hosted(kind, f"{path}.type", ["function", "custom", "web_search"])}


def _hosted(kind: Any, path: str, allowed: list[str]) -> str:
    if isinstance(kind, str) and kind in _SEARCH_ALIASES:
        return "web_search"
    if isinstance(kind, str) and kind in _HOSTED:
        return kind
    raise wrong_value(path, kind, allowed)


def _nested(tool: Tool, key: str, path: str) -> tuple[Tool, str]:
    inner = tool.get(key)
    return (_object(inner, f"{path}.{key}"), f"{path}.{key}") if inner is not None else (tool, path)


def _function(function: Tool, path: str) -> Tool:
    tool: Tool = {"type": "function", "name": _name(function, path)}
    if isinstance(function.get("description"), str):
        tool["description"] = function["description"]
    parameters = function.get("parameters")
    if parameters is not None and not isinstance(parameters, dict):
        raise wrong_type(f"{path}.parameters", "an object", parameters)
    # An object without properties is refused upstream.
    tool["parameters"] = {"type": "object", "properties": {}, **(parameters or {})}
    # Left out, it would mean true there and false in chat.
    tool["strict"] = function.get("strict") is True
    return tool


def _custom(custom: Tool, path: str) -> Tool:
    tool: Tool = {"type": "custom", "name": _name(custom, path)}
    if isinstance(custom.get("description"), str):
        tool["description"] = custom["description"]
    format = custom.get("format")
    if format is not None:
        tool["format"] = _format(_object(format, f"{path}.format"), f"{path}.format")
    return tool


def _format(format: Tool, path: str) -> Tool:
    kind = format.get("type")
    if kind == "text":
        return {"type": "text"}
    if kind != "grammar":
        raise wrong_value(f"{path}.type", kind, ["text", "grammar"])
    grammar, path = _nested(format, "grammar", path)
    for field in ("definition", "syntax"):
        if not isinstance(grammar.get(field), str):
            raise missing(f"{path}.{field}")
    return {"type": "grammar", "syntax": grammar["syntax"], "definition": grammar["definition"]}


def _name(holder: Tool, path: str) -> str:
    name = holder.get("name")
    if name is None or name == "":
        raise missing(f"{path}.name")
    if not isinstance(name, str):
        raise wrong_type(f"{path}.name", "a string", name)
    return name


def _object(value: Any, path: str) -> Tool:
    if not isinstance(value, dict):
        raise wrong_type(path, "an object", value)
    return value


def web_search(options: Tool) -> Tool:
    """The web search tool that ``web_search_options`` asks for.

    Raises:
        InvalidRequest: The location is malformed.
    """
    tool: Tool = {"type": "web_search"}
    if isinstance(options.get("search_context_size"), str):
        tool["search_context_size"] = options["search_context_size"]
    location = options.get("user_location")
    if location is not None:
        place = _object(location, "web_search_options.user_location")
        place = place["approximate"] if isinstance(place.get("approximate"), dict) else place
        tool["user_location"] = {**place, "type": "approximate"}
    return tool


# -- choices ------------------------------------------------------------------------


class _Offered(NamedTuple):
    # Whether any tool is offered, and name -> type of the first of those that have one.
    any: bool
    types: Mapping[str, str]


def _offered(tools: list[Tool]) -> _Offered:
    return _Offered(bool(tools), {tool["name"]: tool["type"] for tool in reversed(tools) if _is_named(tool)})


def _is_named(tool: Tool) -> bool:
    return isinstance(tool.get("name"), str)


def read_choice(choice: Any, tools: list[Tool], path: str = "tool_choice") -> Any:
    """A tool choice in the words of the Responses API.

    Raises:
        InvalidRequest: It is malformed, or names a tool that is not offered.
    """
    offered = _offered(tools)
    if isinstance(choice, str):
        return _mode(_SYNONYMS.get(choice, choice), offered, path)
    choice = _object(choice, path)
    if choice.get("type") == "allowed_tools":
        return _allowed(choice, offered, path)
    return _single(choice, offered, path)


def _single(choice: Tool, offered: _Offered, path: str) -> Any:
    kind = choice.get("type", "function" if "name" in choice or "function" in choice else None)
    if kind in ("function", "custom"):
        return _named(kind, choice, offered, path)
    if isinstance(kind, str) and kind in (*_MODES, *_SYNONYMS):
        return _mode(_SYNONYMS.get(kind, kind), offered, path)
    return {**choice, "type": _hosted(kind, f"{path}.type", ["function", "custom", "allowed_tools"])}


def read_function_call(call: Any, tools: list[Tool]) -> Any:
    """Legacy ``function_call`` as a tool choice.

    Raises:
        InvalidRequest: It is malformed, or names a function that is not offered.
    """
    offered = _offered(tools)
    if isinstance(call, str):
        return _mode(call, offered, "function_call")
    return _named("function", _object(call, "function_call"), offered, "function_call")


def _mode(mode: str, offered: _Offered, path: str) -> str:
    if mode not in _MODES:
        raise wrong_value(path, mode, _MODES)
    if mode == "required" and not offered.any:
        raise bad_value(path, "A tool is required but none is offered. Please send `tools`.")
    return mode


def _named(kind: str, choice: Tool, offered: _Offered, path: str) -> Tool:
    holder, path = _nested(choice, kind, path)
    name = _name(holder, path)
    if name not in offered.types:
        raise bad_value(f"{path}.name", f"The tool '{name[:64]}' is chosen but not offered in `tools`.")
    return {"type": offered.types[name], "name": name}


def _allowed(choice: Tool, offered: _Offered, path: str) -> Tool:
    holder, path = _nested(choice, "allowed_tools", path)
    mode, allowed = holder.get("mode", "auto"), holder.get("tools")
    if mode not in ("auto", "required"):
        raise wrong_value(f"{path}.mode", mode, ["auto", "required"])
    if not isinstance(allowed, list):
        raise wrong_type(f"{path}.tools", "an array", allowed)
    chosen = [
        _single(_object(entry, f"{path}.tools[{position}]"), offered, f"{path}.tools[{position}]")
        for position, entry in enumerate(allowed)
    ]
    return {"type": "allowed_tools", "mode": mode, "tools": chosen}
