"""The CLI backend as a whole: what the CLI is given, what is left behind, what happens when it misbehaves."""

import base64
import json
import os
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from codexproxy.errors import (
    InvalidRequest,
    ModelNotFound,
    NotOffered,
    ProxyError,
    RateLimited,
    UpstreamFailed,
    UpstreamTimeout,
)
from codexproxy.protocol.aggregate import aggregate
from codexproxy.protocol.events import Event
from codexproxy.protocol.request import PassThrough, Turn
from codexproxy.protocol.stream import TimeLimits
from codexproxy.upstream.base import Permit
from codexproxy.upstream.codex_cli import CodexCliBackend, CodexCliOptions
from tests.contracts.backend_stages import CliStage, eventually, processes_of_home
from tests.fakes.clock import Clock
from tests.patience import patient


class FullHouse:
    """Permits that are all taken."""

    def acquire(self, *, owner: str = "") -> Permit:
        raise RateLimited("All places are taken.", code="queue_timeout")

    def acquire_all(self, count: int, *, owner: str = "") -> list[Permit]:
        return [self.acquire()]

    def waiting(self) -> int:
        return 1


PNG = b"\x89PNG fake"
PICTURE = {"type": "input_image", "image_url": "data:image/png;base64," + base64.b64encode(PNG).decode()}


def turn(*parts: Any, x_codex: Any = None, count: int = 1, **body: Any) -> Turn:
    content = [{"type": "input_text", "text": part} if isinstance(part, str) else part for part in parts or ("hi",)]
    message = {"type": "message", "role": "user", "content": content}
    return Turn(
        "gpt-5.5",
        {"model": "gpt-5.5", "input": [message], **body},
        passthrough=PassThrough(x_codex=x_codex),
        count=count,
    )


def ask(backend: CodexCliBackend, asked: Turn) -> list[Event]:
    stream = backend.open(asked)
    try:
        return [event for batch in stream for event in batch]
    finally:
        stream.close()


# Shell that answers a backend's trial of the sandbox: the last word, and nothing that is hidden.
CONFINES = 'if [ "$1" = sandbox ]; then eval echo "\\${$#}"; exit; fi'


def text_of(events: list[Event]) -> str:
    messages = [item for item in aggregate([events])["output"] if item["type"] == "message"]
    return "".join(part["text"] for item in messages for part in item["content"])


def last_call(stage: CliStage) -> dict[str, Any]:
    return dict(stage.cli.calls()[-1])


def test_the_prompt_is_read_from_standard_input_and_stands_nowhere_else(stage: CliStage) -> None:
    ask(stage.backend(), turn("the secret question", instructions="the secret rules"))
    call = last_call(stage)
    assert "the secret question" in call["prompt"] and "the secret rules" in call["prompt"]
    assert "secret" not in " ".join(call["argv"]) + json.dumps(call["env"])


def test_images_and_schemas_are_files_that_are_gone_afterwards(stage: CliStage) -> None:
    schema = {"type": "object", "properties": {}, "additionalProperties": False, "required": []}
    stage.play({"say": "{}"}, {"done": {}})
    answer = {"format": {"type": "json_schema", "name": "a", "schema": schema, "strict": True}}
    assert text_of(ask(stage.backend(), turn("what is this?", PICTURE, text=answer))) == "{}"
    call = last_call(stage)
    files = {Path(path).suffix: bytes.fromhex(content) for path, content in call["files"].items()}
    assert files[".png"] == PNG
    assert json.loads(files.get(".json", json.dumps(call.get("schema")).encode())) == schema
    assert not any(Path(path).exists() for path in call["files"])


def test_the_environment_holds_what_the_cli_needs_and_nothing_of_ours(stage: CliStage) -> None:
    (stage.cli.home / "config.toml").write_text('[model_providers.x]\nenv_key = "PROVIDER_KEY"\n')
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": "/home/someone",
        "LANG": "C.UTF-8",
        "PROVIDER_KEY": "for the provider",
        "PROXY_API_KEY": "ours",
        "CODEX_TOKENS_JSON": "ours too",
        "AWS_SECRET_ACCESS_KEY": "somebody else's",
        "LD_PRELOAD": "/lib/evil.so",
    }
    ask(stage.backend(environment=environment), turn())
    seen = dict(last_call(stage)["env"])
    assert {seen.pop(name) for name in ("PATH", "HOME", "LANG", "PROVIDER_KEY")} == {
        os.environ["PATH"],
        "/home/someone",
        "C.UTF-8",
        "for the provider",
    }
    assert seen.pop("CODEX_HOME") == str(stage.cli.home)
    assert seen.pop("TMPDIR").startswith(str(stage.scratch))
    # The shell that starts the fake adds the last two.
    assert set(seen) <= {"CODEXPROXY_RUN", "PWD", "SHLVL", "_", "OLDPWD", "LC_CTYPE"}


def test_keys_are_kept_from_the_commands_the_model_runs(stage: CliStage) -> None:
    config = '[shell_environment_policy]\nexclude = ["MINE"]\n[model_providers.x]\nenv_key = "PROVIDER_KEY"\n'
    (stage.cli.home / "config.toml").write_text(config)
    ask(stage.backend(), turn())
    hidden = next(part for part in last_call(stage)["argv"] if part.startswith("shell_environment_policy.exclude="))
    assert {"MINE", "PROVIDER_KEY", "CODEX_API_KEY"} <= set(json.loads(hidden.partition("=")[2]))


def test_every_request_works_in_an_empty_folder_of_its_own(stage: CliStage) -> None:
    backend = stage.backend()
    folders = set()
    for _ in range(3):
        ask(backend, turn())
        call = last_call(stage)
        folder = call["thread"]["cwd"] if "thread" in call else call["cwd"]
        folders.add(folder)
        assert folder.startswith(str(stage.scratch)) and not Path(folder).exists()
    assert len(folders) == 3


def test_a_request_may_work_in_a_folder_below_the_owners(stage: CliStage, tmp_path: Path) -> None:
    (tmp_path / "root" / "project").mkdir(parents=True)
    (tmp_path / "root" / "project" / "file").touch()
    backend = stage.backend(workdir=tmp_path / "root")
    ask(backend, turn(x_codex={"workdir": "project"}))
    call = last_call(stage)
    assert (call["thread"]["cwd"] if "thread" in call else call["cwd"]) == str(tmp_path / "root" / "project")
    assert (tmp_path / "root" / "project" / "file").exists()
    with pytest.raises(InvalidRequest):
        backend.open(turn(x_codex={"workdir": "../.."}))


def test_activity_is_silent_unless_asked_for(stage: CliStage) -> None:
    stage.play(
        {"command": "ls", "output": "file\n"},
        {"change": [{"path": "/w/a", "kind": "add"}]},
        {"warn": "unrelated"},
        {"retrying": "Reconnecting... 2/5"},
        {"say": "Done."},
        {"done": {}},
    )
    backend = stage.backend()
    assert [item["type"] for item in aggregate([ask(backend, turn())])["output"]] == ["message"]
    told = aggregate([ask(backend, turn(x_codex={"include_activity": True}))])["output"]
    assert [item["summary"][0]["text"] for item in told[:-1]] == ["$ ls\nfile\n[exit 0]", "add /w/a\n[completed]"]
    assert [item["x_codex"]["type"] for item in told[:-1]] == ["command_execution", "file_change"]


def test_garbage_on_standard_output_is_passed_over(stage: CliStage) -> None:
    stage.play({"raw": "npm notice\n\x00\x01{\n[]\n"}, {"stderr": "ERROR unrelated\n"}, {"say": "Hello"}, {"done": {}})
    assert text_of(ask(stage.backend(), turn())) == "Hello"


def test_ten_megabytes_in_one_line_arrive_whole(stage: CliStage) -> None:
    text = "x" * 10_000_000
    stage.play({"say": text}, {"done": {}})
    assert text_of(ask(stage.backend(), turn())) == text


def test_a_prompt_of_ten_megabytes_arrives_whole(stage: CliStage) -> None:
    ask(stage.backend(), turn("y" * 10_000_000))
    assert len(last_call(stage)["prompt"]) == 10_000_000


def test_a_last_line_without_an_end_counts(exec_stage: CliStage) -> None:
    ending = {"type": "turn.completed", "usage": {"input_tokens": 1, "output_tokens": 1}}
    exec_stage.play({"say": "Hello"}, {"raw": json.dumps(ending)})
    assert text_of(ask(exec_stage.backend(), turn())) == "Hello"


@pytest.mark.parametrize(
    ("steps", "told"),
    [
        (({"raw": '{"type":"item.comp'}, {"die": 9}), "signal 9"),
        (({"say": "half"}, {"stderr": "thread 'main' panicked at sk-secretsecret\n"}, {"exit": 101}), "panicked"),
        (({"exit": 0},), "before the answer was complete"),
        (({"raw": "garbage\n", "repeat": 1000}, {"exit": 1}), "before the answer was complete"),
    ],
    ids=["crashing in a line", "panicking", "ending without a word", "only garbage"],
)
def test_a_cli_that_breaks_is_a_502_with_its_last_words(stage: CliStage, steps: tuple[Any, ...], told: str) -> None:
    stage.play(*steps)
    with pytest.raises(UpstreamFailed) as failure:
        ask(stage.backend(), turn())
    assert (failure.value.status, failure.value.code) == (502, "codex_cli_failed")
    assert told in failure.value.message and "secretsecret" not in failure.value.message
    eventually(lambda: stage.in_use() == 0)


def test_a_cli_that_ignores_sigterm_is_gone_all_the_same(stage: CliStage) -> None:
    stage.play({"deaf": True}, {"think": ["begun"]}, {"leave": 60}, {"hang": True})
    stream = stage.backend(kill_grace=0.2).open(turn())
    stream.prime()
    eventually(lambda: len(processes_of_home(stage.cli.home)) == 2)
    stream.close()
    assert processes_of_home(stage.cli.home) == []
    assert list(stage.scratch.iterdir()) == []


def test_a_command_that_outlives_its_turn_is_ended_with_it(stage: CliStage) -> None:
    stage.play({"leave": 60}, {"say": "Hello"}, {"done": {}})
    backend = stage.backend()
    assert text_of(ask(backend, turn())) == "Hello"
    eventually(lambda: processes_of_home(stage.cli.home) == [])
    assert backend.idle() == 0


def test_a_missing_cli_is_told_in_one_line(stage: CliStage) -> None:
    backend = stage.backend(bin="/nowhere/codex")
    for failing in (lambda: backend.open(turn()), backend.models, backend.usage):
        with pytest.raises(UpstreamFailed) as failure:
            failing()
        assert failure.value.code == "codex_cli_failed"
        assert "`/nowhere/codex` was not found" in failure.value.message and "CODEX_BIN" in failure.value.message
    assert "\n" not in (backend.problem() or "") and "was not found" in (backend.problem() or "")
    assert backend.idle() == 0 and list(stage.scratch.iterdir()) == []


def test_a_home_that_is_missing_is_made_and_one_that_cannot_be_is_told(exec_stage: CliStage) -> None:
    home = exec_stage.cli.home
    with pytest.raises(UpstreamFailed):
        # Without its own folder the fake cannot play.
        ask(exec_stage.backend(home=home / "fresh"), turn())
    assert (home / "fresh").is_dir()
    backend = exec_stage.backend(home=home / "scenario.json" / "home")
    for failing in (lambda: backend.open(turn()), backend.models, backend.usage):
        with pytest.raises(UpstreamFailed, match="Not a directory") as failure:
            failing()
        assert failure.value.code == "codex_cli_failed"


def test_an_ancient_cli_is_told_in_one_line(stage: CliStage) -> None:
    backend = stage.backend()
    assert backend.problem() is None
    stage.cli.set("version", "0.46.0")
    assert backend.problem() is None, "asked once as long as the executable stays the same"
    os.utime(stage.cli.bin, (1, 1))
    assert "0.46.0 is too old" in (backend.problem() or "")
    stage.cli.set("without", ["exec", "app-server"])
    with pytest.raises(UpstreamFailed, match="too old"):
        ask(backend, turn())


def test_a_problem_of_the_moment_passes(stage: CliStage) -> None:
    clock = Clock()
    backend = CodexCliBackend("cli", stage.options(), clock=clock)
    stage.cli.set("without", ["--version"])
    assert backend.problem() is not None
    stage.cli.set("without", [])
    assert backend.problem() is not None, "not asked again at every request"
    clock.now += 61
    assert backend.problem() is None


def test_whether_the_cli_works_is_known_also_while_all_places_are_taken(stage: CliStage) -> None:
    assert CodexCliBackend("cli", stage.options(), permits=FullHouse()).problem() is None


def test_a_cli_that_hangs_is_asked_once_and_not_for_long(tmp_path: Path) -> None:
    program, asked = tmp_path / "codex", tmp_path / "asked"
    program.write_text(f'#!/bin/sh\necho "$*" >> "{asked}"\nexec sleep 60\n')
    program.chmod(0o755)
    options = CodexCliOptions(
        bin=str(program), home=tmp_path, scratch=tmp_path, environment={"PATH": "/usr/bin:/bin"}, patience=0.3
    )
    backend = CodexCliBackend("cli", options)
    assert "in time" in (backend.problem() or "")
    assert "in time" in (backend.problem() or "")
    with pytest.raises(UpstreamTimeout):
        backend.models()
    assert asked.read_text().splitlines() == ["--version", "debug models"]


def test_something_else_under_the_clis_name_is_told(tmp_path: Path) -> None:
    program = tmp_path / "codex"
    program.write_text("#!/bin/sh\necho I am a librarian\n")
    program.chmod(0o755)
    options = CodexCliOptions(bin=str(program), home=tmp_path, scratch=tmp_path, environment={"PATH": "/usr/bin:/bin"})
    assert "does not look like the Codex CLI" in (CodexCliBackend("x", options).problem() or "")


def test_a_cli_without_an_app_server_is_run_with_exec(app_stage: CliStage) -> None:
    app_stage.cli.set("without", ["app-server"])
    backend = app_stage.backend(transport="auto")
    for _ in range(2):
        assert text_of(ask(backend, turn())) == "Hello world"
    assert [call["argv"][0] for call in app_stage.cli.calls()] == ["exec", "exec"]
    with pytest.raises(UpstreamFailed):
        app_stage.backend(transport="app-server").open(turn())


def test_an_app_server_serves_turn_after_turn(app_stage: CliStage) -> None:
    backend = app_stage.backend()
    for number in range(4):
        assert text_of(ask(backend, turn(f"question {number}"))) == "Hello world"
        assert backend.idle() == 1
    calls = app_stage.cli.calls()
    assert len({call["pid"] for call in calls}) == 1
    assert [call["prompt"] for call in calls] == [f"question {number}" for number in range(4)]


def test_an_app_server_is_replaced_after_its_last_turn(app_stage: CliStage) -> None:
    backend = app_stage.backend(max_turns=2)
    for _ in range(4):
        ask(backend, turn())
    assert len({call["pid"] for call in app_stage.cli.calls()}) == 2


def test_a_changed_configuration_needs_a_new_app_server(app_stage: CliStage) -> None:
    backend = app_stage.backend()
    ask(backend, turn())
    (app_stage.cli.home / "config.toml").write_text("# changed\n")
    ask(backend, turn())
    assert len({call["pid"] for call in app_stage.cli.calls()}) == 2
    assert backend.idle() == 1


def test_an_app_server_that_died_while_idle_is_replaced(app_stage: CliStage) -> None:
    backend = app_stage.backend()
    ask(backend, turn())
    os.kill(int(app_stage.cli.calls()[0]["pid"]), 9)
    eventually(lambda: processes_of_home(app_stage.cli.home) == [])
    assert text_of(ask(backend, turn())) == "Hello world"


def test_idle_app_servers_are_few_and_do_not_stay_for_ever(app_stage: CliStage) -> None:
    app_stage.play({"gate": "go"}, {"say": "Hello"}, {"done": {}})
    backend = app_stage.backend(max_warm=2, warm_seconds=0.5)
    threads = [threading.Thread(target=ask, args=(backend, turn())) for _ in range(4)]
    for thread in threads:
        thread.start()
    eventually(lambda: len(processes_of_home(app_stage.cli.home)) == 4)
    app_stage.open_gate("go")
    for thread in threads:
        thread.join(patient(10))
    assert backend.idle() <= 2
    eventually(lambda: backend.idle() == 0 and processes_of_home(app_stage.cli.home) == [])


def test_a_turn_that_was_given_up_leaves_no_app_server(app_stage: CliStage) -> None:
    app_stage.play({"think": ["begun"]}, {"hang": True})
    backend = app_stage.backend()
    backend.open(turn()).close()
    assert backend.idle() == 0


def test_a_thread_that_is_refused_is_a_failure(app_stage: CliStage) -> None:
    app_stage.cli.set("refuse_thread", "The model `x` does not exist")
    backend = app_stage.backend()
    with pytest.raises(ModelNotFound):
        backend.open(turn())
    assert backend.idle() == 0


def test_an_app_server_that_does_not_answer_is_given_up(app_stage: CliStage) -> None:
    program = app_stage.cli.bin
    program.write_text(f"#!/bin/sh\n{CONFINES}\nexec sleep 60\n")
    limits = TimeLimits(connect=0.3, first_event=None, idle=None, total=10)
    began = time.monotonic()
    with pytest.raises(ProxyError) as failure:
        app_stage.backend(limits=limits).open(turn())
    assert failure.value.status == 504
    assert time.monotonic() - began < patient(5)


def test_an_app_server_that_did_not_answer_is_not_waited_for_at_every_turn(app_stage: CliStage) -> None:
    asked = app_stage.cli.home / "asked"
    app_stage.cli.bin.write_text(f'#!/bin/sh\n{CONFINES}\necho "$1" >> "{asked}"\nexec sleep 60\n')
    backend = app_stage.backend(limits=TimeLimits(connect=0.3, first_event=None, idle=None, total=10))
    for ask_it in (lambda: backend.open(turn()), lambda: backend.open(turn()), backend.usage):
        with pytest.raises(UpstreamTimeout):
            ask_it()
    assert asked.read_text().splitlines() == ["app-server"]


def test_what_the_cli_cannot_do_is_refused_or_reported(stage: CliStage) -> None:
    backend = stage.backend()
    with pytest.raises(InvalidRequest) as refusal:
        backend.open(turn(count=2))
    assert (refusal.value.code, refusal.value.param) == ("unsupported_parameter", "n")
    with pytest.raises(NotOffered):
        backend.compact({"model": "gpt-5.5", "input": []})
    tools = [{"type": "function", "name": "f"}]
    asked = turn(tools=tools, tool_choice="none")
    assert [backend.supports(each) for each in (turn(), asked, turn(count=2), turn(tools=tools))] == [
        True,
        True,
        False,
        False,
    ]
    shown = backend.preview(asked)
    assert (shown["command"][1], shown["input"], shown["ignored"]) == ("exec", "hi", ("tools",))
    assert backend.prepare(asked).ignored == ("tools",)
    stream = backend.open(asked)
    stream.close()
    assert stream.answerer.ignored == ("tools",)
    assert stage.cli.calls() == [] or len(stage.cli.calls()) == 1


def test_local_only_refuses_before_anything_is_started(stage: CliStage) -> None:
    backend = stage.backend(local_only=True)
    with pytest.raises(InvalidRequest) as refusal:
        backend.open(turn())
    assert (refusal.value.status, refusal.value.code) == (400, "local_only")
    assert stage.cli.most_at_once() == 0


def test_local_only_pins_what_it_inspected_and_walls_the_cli_in(stage: CliStage) -> None:
    provider = '[model_providers.mine]\nbase_url = "http://localhost:1/v1"\n'
    (stage.cli.home / "config.toml").write_text(f'model_provider = "mine"\n{provider}')
    environment = {"PATH": os.environ["PATH"], "HTTPS_PROXY": "http://proxy.example:1"}
    ask(stage.backend(local_only=True, environment=environment), turn())
    call = last_call(stage)
    assert {'model_provider="mine"', 'model_providers.mine.base_url="http://localhost:1/v1"'} <= set(call["argv"])
    assert call["env"]["HTTPS_PROXY"] == call["env"]["https_proxy"] == "http://127.0.0.1:9"


@pytest.mark.parametrize(
    ("without", "asked"),
    [([], "debug"), (["debug"], "models"), (["debug", "models"], "app-server")],
    ids=["debug models", "models list", "model/list"],
)
def test_models_are_asked_for_in_whatever_way_the_cli_knows(stage: CliStage, without: list[str], asked: str) -> None:
    stage.cli.set("without", without)
    [model] = stage.backend().models()
    assert model["slug"] == "gpt-5.5"
    assert model["default_reasoning_level"] == ("low" if asked == "app-server" else "medium")


def test_a_turn_that_nobody_can_answer_starts_nothing(stage: CliStage) -> None:
    backend = stage.backend()
    for asked in (turn(x_codex={"nonsense": 1}), turn(x_codex={"sandbox": "danger-full-access"}), turn(tools=[{}])):
        with pytest.raises(InvalidRequest):
            backend.open(asked)
    assert stage.cli.most_at_once() == 0
