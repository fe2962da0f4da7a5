"""The real Codex CLI with the simulator as its upstream: streams, sandboxes, files, cancellations, walls.

What it has in common with the other backends, ``tests/contracts/test_backend_contract.py`` shows with it, too.
"""

import base64
import json
import socket
import struct
import threading
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from codexproxy.errors import InvalidRequest, ModelNotFound, RateLimited, UpstreamFailed, UpstreamTimeout
from codexproxy.protocol.aggregate import aggregate
from codexproxy.protocol.events import Event
from codexproxy.protocol.request import PassThrough, Turn
from codexproxy.simulator.client import SimulatorClient
from codexproxy.simulator.recipes import answer, call, http, message, say, stall_at
from codexproxy.upstream.codex_cli import CodexCliBackend
from tests.contracts.backend_stages import RealCliStage, eventually, processes_of_home
from tests.upstream.codex_cli.real_cli import installed, write_config

pytestmark = pytest.mark.real_cli


@pytest.fixture(params=["exec", "app-server"])
def stage(request: pytest.FixtureRequest, tmp_path: Path, sim: SimulatorClient) -> Iterator[RealCliStage]:
    installed()
    stage = RealCliStage(tmp_path, request.param, sim)
    yield stage
    stage.close()
    eventually(lambda: processes_of_home(stage.home) == [])
    eventually(lambda: list(stage.scratch.iterdir()) == [])


def turn(*parts: Any, x_codex: Any = None, **body: Any) -> Turn:
    content = [{"type": "input_text", "text": part} if isinstance(part, str) else part for part in parts or ("hi",)]
    asked = {"model": "gpt-5.5", "input": [{"type": "message", "role": "user", "content": content}], **body}
    return Turn("gpt-5.5", asked, passthrough=PassThrough(x_codex=x_codex))


def ask(backend: CodexCliBackend, asked: Turn) -> list[Event]:
    stream = backend.open(asked)
    try:
        return [event for batch in stream for event in batch]
    finally:
        stream.close()


def text_of(events: list[Event]) -> str:
    output = aggregate([events])["output"]
    return "".join(part["text"] for item in output if item["type"] == "message" for part in item["content"])


def run(sim: SimulatorClient, command: str, *after: dict[str, Any]) -> None:
    """Lets the model run this command, and then answer."""
    sim.script(answer(call("exec_command", {"cmd": command})))
    sim.script(*(after or (say("Done."),)))


def activity(events: list[Event]) -> dict[str, Any]:
    """The command that was told."""
    notes = [item["x_codex"] for item in aggregate([events])["output"] if "x_codex" in item]
    assert len(notes) == 1
    return dict(notes[0])


def test_an_answer_is_streamed_in_deltas(tmp_path: Path, sim: SimulatorClient) -> None:
    stage = RealCliStage(tmp_path, "auto", sim)
    sim.script(say("one ", "two ", "three ", "four"))
    events = ask(stage.backend(), turn())
    assert [event.data["delta"] for event in events if event.type == "response.output_text.delta"] == [
        "one ",
        "two ",
        "three ",
        "four",
    ]
    stage.close()


def test_a_read_only_run_cannot_write(stage: RealCliStage, sim: SimulatorClient, tmp_path: Path) -> None:
    (tmp_path / "root").mkdir()
    target = tmp_path / "root" / "written"
    run(sim, f"touch {target} || echo refused; cat /etc/hostname > /dev/null && echo read")
    backend = stage.backend(workdir=tmp_path / "root")
    told = activity(ask(backend, turn(x_codex={"include_activity": True})))
    assert "refused" in told["aggregated_output"] and "read" in told["aggregated_output"]
    assert not target.exists()


def test_a_workspace_write_run_edits_a_file_and_only_there(
    stage: RealCliStage, sim: SimulatorClient, tmp_path: Path
) -> None:
    (tmp_path / "root" / "project").mkdir(parents=True)
    file, outside = tmp_path / "root" / "project" / "file", tmp_path / "root" / "outside"
    file.write_text("before")
    run(sim, f"echo after > {file}; touch {outside} || echo refused; touch $TMPDIR/x && echo temporary")
    asked = turn(x_codex={"sandbox": "workspace-write", "workdir": "project", "include_activity": True})
    told = activity(ask(stage.backend(workdir=tmp_path / "root"), asked))
    assert file.read_text() == "after\n"
    assert not outside.exists()
    assert "refused" in told["aggregated_output"] and "temporary" in told["aggregated_output"]


@pytest.mark.parametrize("network", [False, True])
def test_network_is_there_when_it_was_asked_for(stage: RealCliStage, sim: SimulatorClient, network: bool) -> None:
    port = sim.base_url.rpartition(":")[2]
    run(sim, f"(exec 3<>/dev/tcp/127.0.0.1/{port}) && echo connected || echo cut off")
    wishes = {"sandbox": "workspace-write", "network_access": network, "include_activity": True}
    told = activity(ask(stage.backend(), turn(x_codex=wishes)))
    assert ("connected" if network else "cut off") in told["aggregated_output"]


def test_full_access_is_had_by_those_who_may_and_ask(stage: RealCliStage, sim: SimulatorClient, tmp_path: Path) -> None:
    target = tmp_path / "anywhere"
    run(sim, f"touch {target}")
    wishes = {"sandbox": "danger-full-access", "include_activity": True}
    ask(stage.backend(allow_danger_full_access=True), turn(x_codex=wishes))
    assert target.exists()


def test_the_providers_key_is_hidden_from_commands(stage: RealCliStage, sim: SimulatorClient) -> None:
    run(sim, "echo key=[$SIM_TOKEN]; env | grep -c CODEXPROXY_RUN")
    told = activity(ask(stage.backend(), turn(x_codex={"include_activity": True})))
    assert "key=[]" in told["aggregated_output"]


def png() -> bytes:
    """A picture of four pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    pixels = zlib.compress((b"\0" + b"\xff\0\0" * 2) * 2)
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", 2, 2, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def test_an_image_reaches_the_model(stage: RealCliStage, sim: SimulatorClient) -> None:
    url = "data:image/png;base64," + base64.b64encode(png()).decode()
    sim.script(say("A picture."))
    assert text_of(ask(stage.backend(), turn("What is it?", {"type": "input_image", "image_url": url}))) == "A picture."
    sent = json.dumps(sim.last_turn()["json"]["input"])
    assert "data:image/png;base64," in sent and "[Image #1]" in sent and "What is it?" in sent


def test_a_schema_reaches_the_model(stage: RealCliStage, sim: SimulatorClient) -> None:
    schema = {
        "type": "object",
        "properties": {"a": {"type": "string"}},
        "required": ["a"],
        "additionalProperties": False,
    }
    sim.script(say('{"a":', '"b"}'))
    wanted = {"format": {"type": "json_schema", "name": "x", "schema": schema, "strict": True}}
    assert json.loads(text_of(ask(stage.backend(), turn(text=wanted)))) == {"a": "b"}
    assert sim.last_turn()["json"]["text"]["format"]["schema"] == schema


def test_options_of_the_request_reach_the_model(stage: RealCliStage, sim: SimulatorClient) -> None:
    sim.script(say("Hello"), repeat=-1)
    options = {"reasoning": {"effort": "high", "summary": "detailed"}, "text": {"verbosity": "high"}}
    ask(stage.backend(), turn(tools=[{"type": "web_search"}], service_tier="priority", **options))
    sent = sim.last_turn()["json"]
    assert sent["reasoning"] == {"effort": "high", "summary": "detailed"}
    assert (sent["text"]["verbosity"], sent["service_tier"]) == ("high", "priority")
    assert [tool["external_web_access"] for tool in sent["tools"] if tool["type"] == "web_search"] == [True]
    ask(stage.backend(), turn())
    assert not [tool for tool in sim.last_turn()["json"]["tools"] if tool["type"] == "web_search"]


def test_a_conversation_reaches_the_model_with_its_roles(stage: RealCliStage, sim: SimulatorClient) -> None:
    sim.script(say("Hello"))
    said = [
        ("user", "input_text", "What is my name?"),
        ("assistant", "output_text", "Ann."),
        ("user", "input_text", "Sure?"),
    ]
    items = [{"type": "message", "role": role, "content": [{"type": kind, "text": text}]} for role, kind, text in said]
    ask(stage.backend(), turn(input=items, instructions="Be brief."))
    prompt = sim.last_turn()["json"]["input"][-1]["content"][-1]["text"]
    places = [prompt.index(text) for text in ("Be brief.", "What is my name?", "Ann.", "Sure?")]
    assert places == sorted(places)


def test_messages_on_the_way_are_told_as_such(stage: RealCliStage, sim: SimulatorClient) -> None:
    sim.script(answer(message("I will look.", phase="commentary"), call("exec_command", {"cmd": "true"})))
    sim.script(answer(message("Done.", phase="final_answer")))
    output = aggregate([ask(stage.backend(), turn())])["output"]
    assert [(item.get("phase"), item["content"][0]["text"]) for item in output] == [
        ("commentary", "I will look."),
        ("final_answer", "Done."),
    ]


@pytest.mark.parametrize("command", ["sleep 61", "(setsid sleep 62 &); sleep 63"])
@pytest.mark.parametrize("sandbox", ["read-only", "danger-full-access"])
def test_a_cancelled_run_leaves_no_process(
    stage: RealCliStage, sim: SimulatorClient, sandbox: str, command: str
) -> None:
    run(sim, command)
    wishes = {"sandbox": sandbox, "include_activity": True}
    stream = stage.backend(allow_danger_full_access=True).open(turn(x_codex=wishes))
    for batch in stream:
        if any(event.type == "response.reasoning_summary_text.delta" for event in batch):
            break
    eventually(lambda: _sleeping(stage.home))
    stream.close()
    assert processes_of_home(stage.home) == []
    assert not _sleeping(stage.home)


def _sleeping(home: Path) -> bool:
    for pid in processes_of_home(home):
        try:
            if Path(f"/proc/{pid}/cmdline").read_bytes().startswith(b"sleep\0"):
                return True
        except OSError:
            continue
    return False


def test_a_run_that_takes_too_long_leaves_no_process(stage: RealCliStage, sim: SimulatorClient) -> None:
    run(sim, "sleep 64")
    stream = stage.backend(total=2.0).open(turn(x_codex={"include_activity": True}))
    with pytest.raises(UpstreamTimeout):
        for _ in stream:
            pass
    stream.close()
    assert processes_of_home(stage.home) == []


def test_a_client_that_leaves_while_the_model_is_silent_frees_it(stage: RealCliStage, sim: SimulatorClient) -> None:
    sim.script(stall_at(say("never"), at="first_event"))
    stream = stage.backend().open(turn())
    sim.wait_for(lambda counters: counters["open_streams"] == 1)
    stream.close()
    sim.wait_for(lambda counters: counters["open_streams"] == 0)


def test_a_model_the_cli_refuses_is_404(stage: RealCliStage, sim: SimulatorClient) -> None:
    with pytest.raises(ModelNotFound) as refusal:
        ask(stage.backend(), Turn("gpt-0", {**turn().body, "model": "gpt-0"}))
    assert (refusal.value.status, refusal.value.code) == (404, "model_not_found")


def test_the_catalogue_is_that_of_the_cli(stage: RealCliStage) -> None:
    backend = stage.backend()
    models = {model["slug"]: model for model in backend.models()}
    assert {"low", "high"} <= {level["effort"] for level in models["gpt-5.5"]["supported_reasoning_levels"]}
    assert backend.problem() is None


class Elsewhere:
    """A proxy that counts who wanted to leave this machine."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.asked: list[bytes] = []
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            with client:
                client.settimeout(1)
                self.asked.append(client.recv(4096))

    def close(self) -> None:
        self._listener.close()


def test_local_only_runs_a_local_provider_and_nothing_else_gets_out(stage: RealCliStage, sim: SimulatorClient) -> None:
    elsewhere = Elsewhere()
    stage.environment |= dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"), elsewhere.url)
    sim.script(say("Hello"))
    assert text_of(ask(stage.backend(local_only=True), turn())) == "Hello"
    elsewhere.close()
    assert elsewhere.asked == []


def test_a_local_provider_that_redirects_elsewhere_leads_nowhere(stage: RealCliStage, sim: SimulatorClient) -> None:
    sim.script({"status": 307, "headers": {"location": "http://elsewhere.example/v1/responses"}}, repeat=-1)
    with pytest.raises(InvalidRequest, match="redirects to another machine") as refusal:
        ask(stage.backend(local_only=True), turn())
    assert (refusal.value.status, refusal.value.code) == (400, "local_only")


def test_a_redirect_that_only_the_cli_is_given_ends_at_the_wall(tmp_path: Path, sim: SimulatorClient) -> None:
    stage, elsewhere = RealCliStage(tmp_path, "exec", sim), Elsewhere()
    # Our own question, which names no model, is answered by the simulator's rules.
    location = {"location": "http://elsewhere.example/v1/responses"}
    sim.script({"status": 307, "headers": location}, match="gpt-5.5", repeat=-1)
    stage.environment |= dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"), elsewhere.url)
    with pytest.raises(UpstreamFailed) as failure:
        ask(stage.backend(local_only=True), turn())
    assert failure.value.code == "upstream_unavailable"
    elsewhere.close()
    assert elsewhere.asked == []


def test_a_project_cannot_move_the_provider(stage: RealCliStage, sim: SimulatorClient, tmp_path: Path) -> None:
    project = tmp_path / "root" / "project" / ".codex"
    project.mkdir(parents=True)
    other = 'model_provider = "x"\n[model_providers.x]\nname = "x"\nbase_url = "http://127.0.0.1:9/v1"\n'
    (project / "config.toml").write_text(other)
    config = stage.home / "config.toml"
    config.write_text(config.read_text() + f'[projects."{project.parent}"]\ntrust_level = "trusted"\n')
    sim.script(say("Hello"))
    backend = stage.backend(local_only=True, workdir=tmp_path / "root")
    assert text_of(ask(backend, turn(x_codex={"workdir": "project"}))) == "Hello"


def test_a_login_that_is_missing_is_told_with_the_command(stage: RealCliStage, sim: SimulatorClient) -> None:
    stage.environment.pop("SIM_TOKEN")
    with pytest.raises(Exception, match="codex login") as failure:
        ask(stage.backend(), turn())
    assert getattr(failure.value, "status", None) == 401


def test_the_users_configuration_is_left_as_it_is(stage: RealCliStage, sim: SimulatorClient) -> None:
    before = (stage.home / "config.toml").read_text()
    sim.script(say("Hello"))
    ask(stage.backend(), turn(x_codex={"sandbox": "workspace-write"}))
    assert (stage.home / "config.toml").read_text() == before
    assert not list(stage.home.rglob("rollout-*.jsonl"))
    write_config(stage.home, sim)


def test_a_spent_window_says_when_it_resets(stage: RealCliStage, sim: SimulatorClient) -> None:
    now = time.time()
    for seconds in (7200, 3 * 86400):
        error = {"type": "usage_limit_reached", "message": "The usage limit has been reached", "plan_type": "plus"}
        clock = {"resets_at": int(now) + seconds, "resets_in_seconds": seconds}
        sim.script(http(429, {"error": {**error, **clock}}))
        with pytest.raises(RateLimited) as limit:
            ask(stage.backend(), turn())
        assert (limit.value.status, limit.value.code) == (429, "usage_limit_reached")
        # The CLI says the minute, and we its end.
        assert limit.value.retry_after == pytest.approx(seconds, abs=65)
        assert limit.value.extra["resets_at"] == pytest.approx(clock["resets_at"], abs=60)
        assert "try again at" in limit.value.message
