"""What a request may ask of the CLI, and what becomes of it."""

import base64
import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codexproxy.backends.codex_exec.app_requests import thread_params, turn_params
from codexproxy.backends.codex_exec.argv import exec_argv, overrides, toml_value
from codexproxy.backends.codex_exec.job import Job, job_of
from codexproxy.backends.codex_exec.options import CodexCliOptions
from codexproxy.backends.codex_exec.sandbox import Sandbox, decide_sandbox
from codexproxy.backends.codex_exec.x_codex import Wishes, wishes_of
from codexproxy.errors import InvalidRequest, ModelNotFound
from codexproxy.turns.turn import Turn

PNG = "data:image/png;base64," + base64.b64encode(b"\x89PNG").decode()


def turn(x_codex: Any = None, model: str = "gpt-5.5", **body: Any) -> Turn:
    message = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "hi"}]}
    options = {} if x_codex is None else {"x_codex": x_codex}
    return Turn(model, {"model": model, "input": [message], **body}, options=options)


def job(asked: Turn, **options: Any) -> Job:
    return job_of(asked, CodexCliOptions(**options), b"secret")


def settings_of(argv: list[str]) -> dict[str, Any]:
    """The ``-c`` overrides of a command line, as the CLI reads them."""
    pairs = [argv[index + 1] for index, part in enumerate(argv) if part == "-c"]
    return {key: tomllib.loads(f"x = {value}")["x"] for key, _, value in (pair.partition("=") for pair in pairs)}


def command(asked: Turn, images: tuple[Path, ...] = (), schema: Path | None = None, **options: Any) -> list[str]:
    return exec_argv("codex", job(asked, **options), Path("/work"), Path("/tmp/t"), {}, schema, images)


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
    assert {"--sandbox=workspace-write", "--output-schema=/in/s.json"} <= set(argv)
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
        "shell_environment_policy.set.TMPDIR": "/tmp/t",
    }
    assert settings_of(command(turn({"reasoning_effort": "high"}, reasoning={"effort": "low"})))[
        "model_reasoning_effort"
    ] == ("high")
    assert settings_of(command(turn()))["web_search"] == "disabled"


@pytest.mark.parametrize("network", [True, False])
def test_a_sandbox_that_writes_does_so_in_its_own_folders_only(network: bool) -> None:
    settings = settings_of(command(turn({"sandbox": "workspace-write", "network_access": network})))
    assert settings["sandbox_workspace_write.network_access"] is network
    assert settings["sandbox_workspace_write.writable_roots"] == ["/tmp/t"]
    assert settings["sandbox_workspace_write.exclude_slash_tmp"] is True
    assert settings["sandbox_workspace_write.exclude_tmpdir_env_var"] is True


def test_both_transports_are_told_the_same() -> None:
    asked = job(turn({"sandbox": "workspace-write"}, reasoning={"effort": "low"}))
    params = thread_params(asked, Path("/work"), Path("/tmp/t"))
    argv = exec_argv("codex", asked, Path("/work"), Path("/tmp/t"), {})
    assert params["config"] == settings_of(argv)
    assert (params["ephemeral"], params["approvalPolicy"], params["sandbox"]) == (True, "never", "workspace-write")
    turned = turn_params("t1", asked, [Path("/in/1.png")])
    assert turned["input"] == [{"type": "localImage", "path": "/in/1.png"}, {"type": "text", "text": "hi"}]


@given(st.one_of(st.text(), st.booleans(), st.integers(-(2**63), 2**63 - 1), st.lists(st.text(), max_size=4)))
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
