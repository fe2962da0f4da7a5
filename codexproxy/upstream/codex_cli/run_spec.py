"""A turn prepared for the Codex CLI, and the options under which the CLI runs: decided and checked, nothing started."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from codexproxy.errors import InvalidRequest, ModelNotFound, PermissionRefused
from codexproxy.protocol.events import encode_json
from codexproxy.protocol.request import Turn
from codexproxy.protocol.stream import TimeLimits
from codexproxy.upstream.codex_cli.prompt import Prompt, marks, write_prompt
from codexproxy.upstream.codex_cli.security.sandbox import (
    Sandbox,
    check_access,
    decide_sandbox,
    key_folder,
    resolve_workdir,
)
from codexproxy.upstream.codex_cli.x_codex import wishes_of

# What the CLI keeps in its home and nobody else may read.
_SECRET_FILES = ("auth.json", "config.toml", ".env")

TRANSPORTS = ("auto", "app-server", "exec")

# An agent may be silent for as long as one of its commands runs, so only the whole turn is limited.
WHOLE_TURN = TimeLimits(connect=10.0, first_event=None, idle=None, total=600.0)


@dataclass(frozen=True, slots=True)
class CodexCliOptions:
    """Everything the backend has to know about its CLI.

    Attributes:
        bin: The executable: a name on PATH or a path.
        home: The CLI's own folder, ``CODEX_HOME``.
        workdir: Requests may work in folders below this one; each gets an empty folder of its own when None.
        sandbox_mode: Sandbox of requests that name none.
        local_only: Refuse providers that are not on this machine.
        allow_danger_full_access: Permit requests to ask for ``danger-full-access``.
        transport: ``app-server`` streams text as it is written, ``exec`` gives whole
            messages; ``auto`` takes the first and falls back to the second.
        limits: Time limits of a turn; ``connect`` is the CLI's time to start.
        patience: Seconds that a question which is no turn may take; a catalogue may be fetched for it.
        kill_grace: Seconds between asking a process to end and ending it.
        max_warm: Most idle app-server processes kept by this worker.
        warm_seconds: How long an idle one is kept.
        max_turns: Turns one app-server process serves before it is replaced.
        environment: The environment to choose from; never handed on whole.
        scratch: Where the folders of requests are made.
        hidden: Further files and folders that no command may see, such as our own data.
        linked: Finds the files of other programs that a login of ours lies in.
        key_workdirs: Where named keys have their folders, once there is a ``workdir``.
        project_docs: Whether AGENTS.md and skills of the folder it works in are followed.
        secret: Key of the marks that part messages in a prompt; random per backend when empty.
    """

    bin: str = "codex"
    home: Path = Path("~/.codex")
    workdir: Path | None = None
    sandbox_mode: str = "read-only"
    local_only: bool = False
    allow_danger_full_access: bool = False
    transport: str = "auto"
    limits: TimeLimits = WHOLE_TURN
    patience: float = 15.0
    kill_grace: float = 1.0
    max_warm: int = 2
    warm_seconds: float = 60.0
    max_turns: int = 50
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)
    scratch: Path = Path("/tmp")
    hidden: tuple[Path, ...] = ()
    linked: Callable[[], Sequence[Path]] = tuple
    key_workdirs: Path | None = None
    project_docs: bool = False
    secret: bytes = field(default=b"", repr=False)

    def __post_init__(self) -> None:
        if self.transport not in TRANSPORTS:
            raise ValueError(f"transport must be one of {', '.join(TRANSPORTS)}")
        object.__setattr__(self, "home", self.home.expanduser())

    def hidden_places(self) -> tuple[Path, ...]:
        """What no command may see, as real paths: logins, keys, our own data, and the folders of other runs."""
        user = Path(self.environment.get("HOME") or "~").expanduser()
        homes = (self.home, user / ".codex")
        # They may be links to files elsewhere.
        files = [home / name for home in homes for name in _SECRET_FILES]
        linked = [_narrowest(path, (user, self.workdir or user, Path.cwd())) for path in self.linked()]
        found = (*homes, *files, *linked, self.scratch, *self.hidden)
        places = dict.fromkeys(path.expanduser().resolve() for path in found)
        return tuple(path for path in places if path.exists() and not any(map(places.__contains__, path.parents)))


def _narrowest(path: Path, needed: Sequence[Path]) -> Path:
    """The folder of a login, hidden also when the file is replaced; the file alone, where more than logins is there."""
    folder = path.resolve().parent
    return path if any(place.resolve().is_relative_to(folder) for place in needed) else folder


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
        include_activity: Whether commands and file changes are shown.
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
        raise ModelNotFound("This is not a valid model name for the Codex CLI.", param="model")
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
