"""A turn made ready for the CLI: everything decided and checked, nothing started."""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from codexproxy.errors import InvalidRequest, ModelNotFound, PermissionRefused
from codexproxy.protocol.events import encode_json
from codexproxy.protocol.request import Turn
from codexproxy.upstream.codex_cli.options import CodexCliOptions
from codexproxy.upstream.codex_cli.prompt import Prompt, marks, write_prompt
from codexproxy.upstream.codex_cli.security.sandbox import Sandbox, check_access, decide_sandbox
from codexproxy.upstream.codex_cli.security.workdir import key_folder, resolve_workdir
from codexproxy.upstream.codex_cli.x_codex import wishes_of

Json = dict[str, Any]

# ``cli/gpt-5.5`` chooses this backend by name; the CLI knows the model as ``gpt-5.5``.
MODEL_PREFIX = "cli/"

_MODEL = re.compile(r"[\w][\w.:/@+-]{0,199}", re.ASCII)
_WORD = re.compile(r"[\w-]{1,40}", re.ASCII)
_WEB_SEARCH = frozenset({"web_search", "web_search_preview", "web_search_2025_08_26"})
_TIERS = {"priority": "fast", "fast": "fast", "flex": "flex"}


@dataclass(frozen=True, slots=True)
class Job:
    """What one run of the CLI needs to know.

    Attributes:
        model: The model's slug.
        prompt: The conversation.
        sandbox: What commands may touch.
        workdir: Where it works; None means a fresh empty folder.
        settings: The CLI's configuration keys for this run
        (docs/reference/requests.md#options-of-the-cli-and-what-they-become, docs/reference/codex-cli.md#running-it).
        schema: JSON Schema the answer has to follow.
        json_answer: Whether the answer is JSON, so that nothing may stand beside it.
        include_activity: Whether commands and file changes are told.
        scope: The caller's own folder, which holds ``workdir``; None for the owner.
        restrained: Whether the caller is not the owner.
        project_docs: Whether it follows AGENTS.md and skills of the folder it works in.
        ignored: Names of fields that the CLI cannot honour.
    """

    model: str
    prompt: Prompt
    sandbox: Sandbox = Sandbox()
    workdir: Path | None = None
    settings: Json = field(default_factory=dict)
    schema: Json | None = None
    json_answer: bool = False
    include_activity: bool = False
    scope: Path | None = None
    restrained: bool = False
    project_docs: bool = False
    ignored: tuple[str, ...] = ()


def job_of(
    turn: Turn, options: CodexCliOptions, secret: bytes, is_own: Callable[[str], bool] = lambda text: False
) -> Job:
    """Decides how a turn is run.

    Args:
        turn: What is asked.
        options: How the CLI is run.
        secret: Key of the marks in the prompt.
        is_own: Whether instructions are those the CLI brings along.

    Raises:
        InvalidRequest: The CLI cannot do what is asked, or must not.
        ModelNotFound: The model's name cannot be one.
        PermissionRefused: The caller's key does not permit it.
    """
    check_access(turn.caller.cli)
    body, wishes = turn.body, wishes_of(turn.passthrough.x_codex)
    scope, workdir = _folder_of(turn, options, wishes.workdir)
    schema, extra, json_answer = _format_of(body)
    searches, ignored = tools_of(body)
    prompt = write_prompt(body, extra, marks(secret, turn.cache_key or turn.caller.session or ""), is_own)
    return Job(
        model=_model_of(body),
        prompt=prompt,
        sandbox=decide_sandbox(
            wishes,
            options.sandbox_mode,
            options.allow_danger_full_access,
            turn.caller.cli,
            local_only=options.local_only,
        ),
        workdir=workdir,
        scope=scope,
        restrained=not turn.caller.cli.owner,
        project_docs=options.project_docs and turn.caller.cli.owner,
        settings=_settings_of(body, wishes.reasoning_effort, searches),
        schema=schema,
        json_answer=json_answer,
        include_activity=wishes.include_activity,
        ignored=ignored + tuple(f"input:{kind}" for kind in prompt.left_out),
    )


def _folder_of(turn: Turn, options: CodexCliOptions, wanted: str | None) -> tuple[Path | None, Path | None]:
    """The caller's own folder where it has one, and where the turn works; None means a fresh folder."""
    if turn.caller.cli.owner:
        return None, resolve_workdir(options.workdir, wanted)
    if wanted is not None:
        raise PermissionRefused(
            "Only the owner of this server chooses a folder. Please leave `x_codex.workdir` out: your key works in "
            "a folder of its own.",
            code="cli_not_allowed",
            param="x_codex.workdir",
        )
    if options.workdir is None or options.key_workdirs is None:
        return None, None
    scope = key_folder(options.key_workdirs, turn.caller.key)
    return scope, scope / "files"


def _model_of(body: Json) -> str:
    model = str(body.get("model") or "").removeprefix(MODEL_PREFIX)
    if not _MODEL.fullmatch(model):
        raise ModelNotFound("The name of the model is none that the Codex CLI could know.", param="model")
    return model


def _settings_of(body: Json, effort: str | None, searches: bool) -> Json:
    reasoning, text = _object(body.get("reasoning")), _object(body.get("text"))
    settings = {
        "model_reasoning_effort": effort or reasoning.get("effort"),
        "model_reasoning_summary": reasoning.get("summary"),
        "model_verbosity": text.get("verbosity"),
        "service_tier": _TIERS.get(str(body.get("service_tier"))),
    }
    # Like the other backend, it searches the web only when the caller lists the tool.
    known = {key: value for key, value in settings.items() if isinstance(value, str) and _WORD.fullmatch(value)}
    return {**known, "web_search": "live" if searches else "disabled"}


def tools_of(body: Json) -> tuple[bool, tuple[str, ...]]:
    """Whether the web may be searched, and what of the tools is not honoured.

    Raises:
        InvalidRequest: The model may call tools of the client's.
    """
    tools = [*_list(body.get("tools")), *_tools_in_input(body)]
    kinds = {str(_object(tool).get("type")) for tool in tools}
    foreign = kinds - _WEB_SEARCH
    if not foreign:
        chosen = body.get("tool_choice")
        return bool(kinds) and chosen != "none", () if chosen in (None, "auto", "none") else ("tool_choice",)
    if body.get("tool_choice") == "none":
        return False, ("tools",)
    raise InvalidRequest(
        f"The Codex CLI runs tools of its own and cannot take the client's ({', '.join(sorted(foreign))[:200]}). "
        "Please send the request without `tools`, or to a provider of type `codex`.",
        code="unsupported_parameter",
        param="tools",
    )


def _tools_in_input(body: Json) -> list[Any]:
    # The Responses-Lite shape carries them in the input (docs/reference/requests.md#the-responses-lite-shape).
    items = _list(body.get("input"))
    carried = [_list(item.get("tools")) for item in items if _object(item).get("type") == "additional_tools"]
    return [tool for tools in carried for tool in tools]


def _format_of(body: Json) -> tuple[Json | None, list[str], bool]:
    """The schema for the CLI, what has to be said in words instead, and whether the answer is JSON."""
    wanted = _object(_object(body.get("text")).get("format"))
    if wanted.get("type") == "json_object":
        return None, [_JSON_ONLY], True
    if wanted.get("type") != "json_schema":
        return None, [], False
    schema = _object(wanted.get("schema"))
    if wanted.get("strict"):
        return schema, [], True
    # The CLI sends every schema as a strict one, which refuses most that were not written for it.
    return None, [_JSON_ONLY + "\nIt follows this JSON Schema: " + encode_json(schema).decode()], True


_JSON_ONLY = "Answer with one JSON value and nothing else: no sentence around it, no code fence."


def _object(value: Any) -> Json:
    return value if isinstance(value, dict) else {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
