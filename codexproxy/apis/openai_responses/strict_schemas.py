"""Strict schemas of a Responses request, fitted to what the backend takes (``compat/strict_schema/encode.py``).

A format whose answers have to be turned back leaves the way back in the
turn's options; a tool whose arguments would have to be is sent without strict
mode, since arguments stream as they come.
"""

from typing import Any

from codexproxy.compat.strict_schema.decode import Restorer
from codexproxy.compat.strict_schema.encode import fit
from codexproxy.protocol.json_schema import schema_steps
from codexproxy.protocol.pacing import Pause, Steps, no_pause

Json = dict[str, Any]


def fit_schemas(body: Json, pause: Pause = no_pause) -> tuple[Json, Restorer | None, tuple[str, ...]]:
    """The body with schemas that upstream takes in strict mode.

    Args:
        body: A body of the Responses API; it is not changed.
        pause: Lets others run, now and then.

    Returns:
        The body, the way back for the answer's text, and what was changed.

    Raises:
        InvalidRequest: A schema leads nowhere, is nested too deeply or unfolds too far.
    """
    steps, fitted, restorer = schema_steps(pause), dict(body), None
    notes: list[str] = []
    tools = [_tool(tool, f"tools[{position}]", steps, notes) for position, tool in enumerate(body.get("tools") or [])]
    if notes:
        fitted["tools"] = tools
    form = (body.get("text") or {}).get("format")
    if isinstance(form, dict) and form.get("type") == "json_schema" and _is_strict(form, "schema"):
        made = fit(form["schema"], strict=True, path="text.format.schema", steps=steps)
        restorer = made.restorer
        if made.schema != form["schema"]:
            fitted["text"] = {**body["text"], "format": {**form, "schema": made.schema}}
            notes.append("text.format:schema_fitted")
    return fitted, restorer, tuple(dict.fromkeys(notes))


def _tool(tool: Json, path: str, steps: Steps, notes: list[str]) -> Json:
    if tool.get("type") != "function" or not _is_strict(tool, "parameters"):
        return tool
    made = fit(tool["parameters"], strict=True, path=f"{path}.parameters", steps=steps)
    if made.restorer is not None:
        notes.append("tools:strict_off")
        return {**tool, "strict": False}
    if made.schema == tool["parameters"]:
        return tool
    notes.append("tools:schema_fitted")
    return {**tool, "parameters": made.schema}


def _is_strict(holder: Json, name: str) -> bool:
    return holder.get("strict") is True and isinstance(holder.get(name), dict)
