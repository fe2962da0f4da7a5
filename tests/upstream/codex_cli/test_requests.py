"""What a request may ask of the CLI, and what becomes of it."""

import base64
import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codexproxy.errors import InvalidRequest, ModelNotFound, PermissionRefused
from codexproxy.protocol.request import Caller, CliPermit, PassThrough, Turn
from codexproxy.upstream.codex_cli.process.app_server import thread_params, turn_params
from codexproxy.upstream.codex_cli.process.exec_transport import exec_argv, overrides, toml_value
from codexproxy.upstream.codex_cli.process.launch import of_commands, without_userinfo
from codexproxy.upstream.codex_cli.run_spec import CodexCliOptions, Job, job_of
from codexproxy.upstream.codex_cli.security.sandbox import Places, Sandbox, confined, decide_sandbox
from codexproxy.upstream.codex_cli.x_codex import Wishes, wishes_of

PNG = "data:image/png;base64," + base64.b64encode(b"\x89PNG").decode()

PLACES = Places("r1", Path("/data/runs/r1/tmp"), Path("/work"), (Path("/data"), Path("/home/.codex")))
OWN = {
    "shell_environment_policy.set.TMPDIR": "/data/runs/r1/tmp",
    "shell_environment_policy.set.CODEXPROXY_RUN": "r1",
    "projects": {"/work": {"trust_level": "untrusted"}},
    "project_doc_max_bytes": 0,
    "skills.include_instructions": False,
}


def turn(x_codex: Any = None, model: str = "gpt-5.5", **body: Any) -> Turn:
    message = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "hi"}]}
    return Turn(model, {"model": model, "input": [message], **body}, passthrough=PassThrough(x_codex=x_codex))


def job(asked: Turn, **options: Any) -> Job:
    return job_of(asked, CodexCliOptions(**options), b"secret")


def settings_of(argv: list[str]) -> dict[str, Any]:
    """The ``-c`` overrides of a command line, as the CLI reads them."""
    pairs = [argv[index + 1] for index, part in enumerate(argv) if part == "-c"]
    return {key: tomllib.loads(f"x = {value}")["x"] for key, _, value in (pair.partition("=") for pair in pairs)}


def command(asked: Turn, images: tuple[Path, ...] = (), schema: Path | None = None, **options: Any) -> list[str]:
    return exec_argv("codex", job(asked, **options), PLACES, {}, {}, schema, images)


@pytest.mark.parametrize(
    ("value", "param", "code"),
    [
        ("read-only", "x_codex", "invalid_type"),
        ([], "x_codex", "invalid_type"),
        ({"sandbox": "full"}, "x_codex.sandbox", "invalid_value"),
        ({"sandbox": True}, "x_codex.sandbox", "invalid_type"),
        ({"reasoning_effort": "enormous"}, "x_codex.reasoning_effort", "invalid_value"),
        ({"network_access": "yes"}, "x_codex.network_access", "invalid_type"),
        ({"network_access": 1}, "x_codex.network_access", "invalid_type"),
        ({"workdir": 3}, "x_codex.workdir", "invalid_type"),
        ({"include_activity": "true"}, "x_codex.include_activity", "invalid_type"),
        ({"Sandbox": "read-only"}, "x_codex.Sandbox", "unknown_parameter"),
        ({"sandbox": "read-only", "danger": True}, "x_codex.danger", "unknown_parameter"),
        ({"x" * 500: 1}, "x_codex." + "x" * 60, "unknown_parameter"),
    ],
)
def test_wishes_that_make_no_sense_are_refused_by_name(value: Any, param: str, code: str) -> None:
    with pytest.raises(InvalidRequest) as refusal:
        wishes_of(value)
    assert (refusal.value.status, refusal.value.param, refusal.value.code) == (400, param, code)


def test_wishes_are_taken_and_null_is_none() -> None:
    assert wishes_of(None) == wishes_of({}) == wishes_of({"sandbox": None}) == Wishes()
    given = {"sandbox": "workspace-write", "reasoning_effort": "high", "network_access": True, "workdir": "a"}
    assert wishes_of({**given, "include_activity": True}) == Wishes("workspace-write", "high", True, "a", True)


@pytest.mark.parametrize(
    ("asked", "default", "allowed", "outcome"),
    [
        (None, "read-only", False, Sandbox("read-only")),
        (None, "workspace-write", False, Sandbox("workspace-write")),
        ("workspace-write", "read-only", False, Sandbox("workspace-write")),
        ("read-only", "workspace-write", True, Sandbox("read-only")),
        ("danger-full-access", "read-only", True, Sandbox("danger-full-access", True)),
        ("danger-full-access", "danger-full-access", True, Sandbox("danger-full-access", True)),
        ("danger-full-access", "read-only", False, "danger_not_allowed"),
        ("danger-full-access", "danger-full-access", False, "danger_not_allowed"),
        (None, "danger-full-access", True, "danger_not_allowed"),
        (None, "danger-full-access", False, "danger_not_allowed"),
    ],
)
def test_danger_needs_the_owner_and_the_request(asked: Any, default: str, allowed: bool, outcome: Any) -> None:
    if isinstance(outcome, Sandbox):
        assert decide_sandbox(Wishes(sandbox=asked), default, allowed) == outcome
        return
    with pytest.raises(InvalidRequest) as refusal:
        decide_sandbox(Wishes(sandbox=asked), default, allowed)
    assert (refusal.value.status, refusal.value.code) == (400, outcome)


def test_network_is_off_unless_asked_for_and_never_in_the_read_only_sandbox() -> None:
    assert not decide_sandbox(Wishes("workspace-write"), "read-only", False).network
    assert decide_sandbox(Wishes("workspace-write", network_access=True), "read-only", False).network
    with pytest.raises(InvalidRequest) as refusal:
        decide_sandbox(Wishes(network_access=True), "read-only", False)
    assert refusal.value.param == "x_codex.network_access"


def test_the_command_line_holds_the_flags_and_not_the_prompt() -> None:
    asked = turn({"sandbox": "workspace-write", "reasoning_effort": "high"}, instructions="my secret plan")
    argv = command(asked, images=(Path("/in/1.png"), Path("/in/2.jpg")), schema=Path("/in/s.json"))
    assert argv[:2] == ["codex", "exec"] and argv[-2:] == ["--", "-"]
    assert {"--json", "--ephemeral", "--skip-git-repo-check", "--model=gpt-5.5", "--cd=/work"} <= set(argv)
    assert "--output-schema=/in/s.json" in argv
    # It would win over the profile that hides the login.
    assert not [part for part in argv if part.startswith("--sandbox")]
    assert [part for part in argv if part.startswith("--image")] == ["--image=/in/1.png", "--image=/in/2.jpg"]
    assert "my secret plan" not in " ".join(argv)


def test_options_of_the_request_become_settings_of_the_cli() -> None:
    asked = turn(
        reasoning={"effort": "low", "summary": "detailed"},
        text={"verbosity": "high"},
        service_tier="priority",
        tools=[{"type": "web_search"}],
    )
    settings = settings_of(command(asked))
    assert settings == {
        "model_reasoning_effort": "low",
        "model_reasoning_summary": "detailed",
        "model_verbosity": "high",
        "service_tier": "fast",
        "web_search": "live",
        **OWN,
        **confined(Sandbox(), PLACES),
    }
    assert settings_of(command(turn({"reasoning_effort": "high"}, reasoning={"effort": "low"})))[
        "model_reasoning_effort"
    ] == ("high")
    assert settings_of(command(turn()))["web_search"] == "disabled"


@pytest.mark.parametrize("network", [True, False])
def test_a_sandbox_that_writes_does_so_in_its_own_folders_only(network: bool) -> None:
    settings = settings_of(command(turn({"sandbox": "workspace-write", "network_access": network})))
    assert settings["default_permissions"] == "codexproxy-r1"
    assert settings["permissions.codexproxy-r1"] == {
        "filesystem": {
            "/": "read",
            "/data": "deny",
            "/home/.codex": "deny",
            "/data/runs/r1/tmp": "write",
            "/work": "write",
        },
        "network": {"enabled": network},
    }


def test_a_run_that_only_reads_sees_its_own_folder_within_hidden_ones() -> None:
    fresh = replace(PLACES, workdir=Path("/data/runs/r1/tmp/work"))
    rights = confined(Sandbox(), fresh)["permissions.codexproxy-r1"]["filesystem"]
    assert (rights["/data"], rights["/data/runs/r1/tmp/work"]) == ("deny", "read")
    own = replace(PLACES, scope=Path("/data/workdirs/a"), workdir=Path("/data/workdirs/a/files"))
    rights = confined(Sandbox(), own)["permissions.codexproxy-r1"]["filesystem"]
    assert (rights["/data/workdirs/a"], rights["/data/workdirs/a/files"]) == ("write", "read")


def test_full_access_has_no_profile_and_says_so() -> None:
    asked = turn({"sandbox": "danger-full-access"})
    argv = command(asked, allow_danger_full_access=True)
    assert "--sandbox=danger-full-access" in argv and "default_permissions" not in settings_of(argv)
    params = thread_params(job(asked, allow_danger_full_access=True), PLACES, {})
    assert params["sandbox"] == "danger-full-access" and "default_permissions" not in params["config"]


def test_both_transports_are_told_the_same() -> None:
    asked = job(turn({"sandbox": "workspace-write"}, reasoning={"effort": "low"}))
    params = thread_params(asked, PLACES, {})
    argv = exec_argv("codex", asked, PLACES, {}, {})
    assert params["config"] == settings_of(argv)
    assert (params["ephemeral"], params["approvalPolicy"], params.get("sandbox")) == (True, "never", None)
    turned = turn_params("t1", asked, [Path("/in/1.png")])
    assert turned["input"] == [{"type": "localImage", "path": "/in/1.png"}, {"type": "text", "text": "hi"}]


@given(
    st.one_of(
        st.text(),
        st.booleans(),
        st.integers(-(2**63), 2**63 - 1),
        st.lists(st.text(), max_size=4),
        st.dictionaries(st.text(), st.text()),
    )
)
def test_values_on_the_command_line_mean_what_they_say(value: Any) -> None:
    line = overrides({"key": value})[1].removeprefix("key=")
    assert line == toml_value(value)
    assert tomllib.loads(f"x = {line}")["x"] == value


@pytest.mark.parametrize(
    "model", ["", "-c", "--model", "gpt 5", "gpt\n5", "gpt;rm", "$(id)", "gpt-5.5\0", "x" * 300, "ünicode"]
)
def test_a_name_that_can_be_no_model_is_404(model: str) -> None:
    with pytest.raises(ModelNotFound) as refusal:
        job(turn(model=model))
    assert (refusal.value.status, refusal.value.code, refusal.value.param) == (404, "model_not_found", "model")


def test_the_prefix_that_chooses_this_backend_is_taken_off() -> None:
    assert job(turn(model="cli/gpt-5.5")).model == "gpt-5.5"
    assert job(turn(model="openai/gpt-oss:20b")).model == "openai/gpt-oss:20b"


FUNCTION = {"type": "function", "name": "get_weather", "parameters": {}}


@pytest.mark.parametrize(
    "body",
    [
        {"tools": [FUNCTION]},
        {"tools": [{"type": "custom", "name": "x"}]},
        {"tools": [{"type": "web_search"}, {"type": "image_generation"}]},
        {"tools": [FUNCTION], "tool_choice": "required"},
        {"input": [{"type": "additional_tools", "role": "developer", "tools": [FUNCTION]}]},
    ],
)
def test_tools_of_the_client_are_refused_and_not_lost(body: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequest) as refusal:
        job(turn(**body))
    assert (refusal.value.code, refusal.value.param) == ("unsupported_parameter", "tools")


def test_tools_that_may_not_be_called_are_reported() -> None:
    assert job(turn(tools=[FUNCTION], tool_choice="none")).ignored == ("tools",)
    assert job(turn(tools=[{"type": "web_search"}], tool_choice="required")).ignored == ("tool_choice",)
    assert job(turn(tools=[], tool_choice="auto")).ignored == ()


def test_a_strict_schema_goes_to_the_cli_and_any_other_into_words() -> None:
    schema = {"type": "object", "properties": {"a": {"type": "string"}}}
    strict = job(turn(text={"format": {"type": "json_schema", "name": "x", "schema": schema, "strict": True}}))
    assert (strict.schema, strict.json_answer, strict.prompt.text) == (schema, True, "hi")
    loose = job(turn(text={"format": {"type": "json_schema", "name": "x", "schema": schema}}))
    assert loose.schema is None and loose.json_answer and '"properties"' in loose.prompt.text
    plain = job(turn(text={"format": {"type": "json_object"}}))
    assert plain.schema is None and plain.json_answer and "JSON" in plain.prompt.text
    assert not job(turn(text={"format": {"type": "text"}})).json_answer


def test_a_folder_is_decided_with_the_rest(tmp_path: Path) -> None:
    (tmp_path / "inner").mkdir()
    assert job(turn({"workdir": "inner"}), workdir=tmp_path).workdir == (tmp_path / "inner").resolve()
    assert job(turn()).workdir is None


@pytest.mark.parametrize(
    ("url", "code"),
    [
        ("https://example.com/cat.png", "unsupported_content"),
        ("file:///etc/passwd", "unsupported_content"),
        ("/etc/passwd", "unsupported_content"),
        ("data:text/html;base64,PGI+", "unsupported_content"),
        ("data:image/svg+xml;base64,PHN2Zz4=", "unsupported_content"),
        ("data:image/png,plain", "unsupported_content"),
        ("data:image/png;base64,???", "invalid_value"),
        ("data:image/png;base64,", "invalid_value"),
        (None, "invalid_type"),
        ({"url": PNG}, "invalid_type"),
    ],
)
def test_an_image_that_is_none_is_refused_at_its_place(url: Any, code: str) -> None:
    content = [{"type": "input_text", "text": "look"}, {"type": "input_image", "image_url": url}]
    with pytest.raises(InvalidRequest) as refusal:
        job(turn(input=[{"role": "user", "content": content}]))
    assert (refusal.value.code, refusal.value.param) == (code, "input[0].content[1].image_url")


def test_images_are_decoded_in_order() -> None:
    jpeg = "data:image/JPEG;charset=utf-8;base64,/9j/\n4AAQ"
    content = [{"type": "input_image", "image_url": PNG}, {"type": "input_image", "image_url": jpeg}]
    images = job(turn(input=[{"role": "user", "content": content}])).prompt.images
    assert [(image.ending, image.data[:4]) for image in images] == [("png", b"\x89PNG"), ("jpg", b"\xff\xd8\xff\xe0")]


def test_more_than_one_way_of_running_is_known_by_name() -> None:
    with pytest.raises(ValueError, match="transport"):
        CodexCliOptions(transport="telepathy")


READER, WRITER = CliPermit("read", False, owner=False), CliPermit("write", False, owner=False)
ONLINE = CliPermit("write", True, owner=False)
WRITE, NET = {"sandbox": "workspace-write"}, {"sandbox": "workspace-write", "network_access": True}


@pytest.mark.parametrize(
    ("permit", "asked", "mode"),
    [
        (CliPermit("none", False, owner=False), None, None),
        (CliPermit("none", True, owner=False), {"sandbox": "read-only"}, None),
        (READER, None, "read-only"),
        (READER, {"sandbox": "read-only"}, "read-only"),
        (READER, WRITE, None),
        (READER, NET, None),
        (WRITER, None, "workspace-write"),
        (WRITER, WRITE, "workspace-write"),
        (WRITER, NET, None),
        (ONLINE, NET, "workspace-write"),
        (ONLINE, {"sandbox": "danger-full-access"}, None),
        (ONLINE, {"workdir": "project"}, None),
        (CliPermit(), NET, "workspace-write"),
    ],
)
def test_a_key_does_with_the_cli_what_it_is_permitted(permit: CliPermit, asked: Any, mode: str | None) -> None:
    question = replace(turn(asked), caller=Caller("alice", cli=permit))
    options = {"sandbox_mode": "workspace-write", "allow_danger_full_access": True}
    if mode is not None:
        assert job(question, **options).sandbox.mode == mode
        return
    with pytest.raises(PermissionRefused) as refusal:
        job(question, **options)
    assert (refusal.value.status, refusal.value.type, refusal.value.code) == (
        403,
        "permission_error",
        "cli_not_allowed",
    )


def test_keys_work_in_folders_of_their_own_and_the_owner_in_the_whole(tmp_path: Path) -> None:
    options = {"workdir": tmp_path, "key_workdirs": tmp_path / "keys"}
    jobs = [job(replace(turn(), caller=Caller(name, cli=READER)), **options) for name in ("alice", "bob", "../alice")]
    scopes = [found.scope for found in jobs]
    assert len(set(scopes)) == 3 and all(scope is not None and scope.parent == tmp_path / "keys" for scope in scopes)
    assert [found.workdir for found in jobs] == [scope / "files" for scope in scopes if scope]
    assert (job(turn(), **options).workdir, job(turn(), **options).scope) == (tmp_path, None)
    assert job(replace(turn(), caller=Caller("alice", cli=READER))).workdir is None


def test_with_local_only_commands_have_no_network() -> None:
    for asked in (NET, {"sandbox": "danger-full-access"}):
        with pytest.raises(InvalidRequest) as refusal:
            job(turn(asked), local_only=True, allow_danger_full_access=True)
        assert refusal.value.code == "local_only"
    assert job(turn(WRITE), local_only=True).sandbox.mode == "workspace-write"


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("http://user:secret@proxy.example:3128", "http://proxy.example:3128"),
        ("http://user:secret@proxy.example:3128/path?secret", "http://proxy.example:3128"),
        ("user:secret@proxy.example:3128", "proxy.example:3128"),
        ("http://secret@[::1]:3128", "http://[::1]:3128"),
        ("socks5://user:secret@proxy.example", "socks5://proxy.example"),
        ("http://user:sec@ret@proxy.example", "http://proxy.example"),
        ("http://user:secret@proxy.example:port", ""),
        ("http://user:secret@", ""),
        ("http://user:secret/@proxy.example", ""),
        ("http://proxy.example:3128", "http://proxy.example:3128"),
        ("", ""),
    ],
)
def test_commands_learn_the_proxy_and_not_its_password(url: str, shown: str) -> None:
    assert without_userinfo(url) == shown
    settings = of_commands({"HTTPS_PROXY": url}, (), None, Path("/home/.codex"))
    assert settings["shell_environment_policy.set.HTTPS_PROXY"] == shown
