"""What a model runs in the real CLI learns nothing of the login, whatever the sandbox; the model is the simulator."""

import json
import os
import shlex
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from codexproxy.errors import InvalidRequest, RateLimited, UpstreamFailed
from codexproxy.protocol.request import Caller, CliPermit, Turn
from codexproxy.simulator.client import SimulatorClient
from codexproxy.simulator.recipes import answer, call, custom_call, say
from codexproxy.upstream.codex_cli import CodexCliOptions
from tests.contracts.backend_stages import CliStage, RealCliStage, eventually
from tests.upstream.codex_cli.real_cli import installed
from tests.upstream.codex_cli.test_real_cli import ask, png, run, turn

real_cli = pytest.mark.real_cli

SECRETS = {
    "data/tokens.json": "the-login",
    "data/keys.json": "the-keys",
    "data/config.json": "the-config",
    "data/profiles/work/tokens.json": "the-other-login",
    "home/auth.json": "the-cli-login",
    "home/.codex/auth.json": "the-usual-login",
    "home/.profile": "export PROFILE=the-profile",
    "scratch/other-run/in/image": "the-others-image",
    "elsewhere.json": "the-elsewhere",
}
ENVIRONMENT = {"HTTPS_PROXY": "http://user:the-proxy-password@proxy.example:1", "CODEX_API_KEY": "the-api-key"}
# The profile is read by a login shell only; as a file it is nothing that we know of.
HIDDEN_FILES = [name for name in SECRETS if name != "home/.profile"]
WORDS = {*SECRETS.values(), "the-proxy-password", "the-api-key", "the-comment"} - {SECRETS["home/.profile"]}

MODES: dict[str, dict[str, Any]] = {
    "read-only": {"sandbox": "read-only"},
    "workspace-write": {"sandbox": "workspace-write"},
    "workspace-write with network": {"sandbox": "workspace-write", "network_access": True},
}


@pytest.fixture(params=["exec", "app-server"])
def stage(request: pytest.FixtureRequest, tmp_path: Path, sim: SimulatorClient) -> Iterator[RealCliStage]:
    """The real CLI in a home full of secrets, beside a data folder full of them."""
    installed()
    stage = RealCliStage(tmp_path, request.param, sim)
    for name, secret in SECRETS.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(secret)
    with (stage.home / "config.toml").open("a") as config:
        config.write("# the-comment\n")
    (tmp_path / "readable").write_text("readable-text")
    stage.environment |= {**ENVIRONMENT, "NO_PROXY": "127.0.0.1"}
    yield stage
    stage.close()


def hidden(folder: Path) -> dict[str, Any]:
    return {"hidden": (folder / "data", folder / "elsewhere.json"), "key_workdirs": folder / "data" / "workdirs"}


def snoop(folder: Path) -> str:
    """A command that looks everywhere where a secret might be had."""
    files = [folder / name for name in (*HIDDEN_FILES, "home/config.toml")]
    names = " ".join(map(shlex.quote, map(str, files)))
    return (
        f"cd {shlex.quote(str(folder))}; cat {names}; env; set; for file in {names}; do "
        'for root in /proc/[0-9]*/root /proc/[0-9]*/cwd; do cat "$root$file"; done; done; '
        "cat /proc/[0-9]*/environ /proc/[0-9]*/cmdline | tr '\\0' '\\n'; ls -l /proc/[0-9]*/fd; "
        f"grep -rsl the- {shlex.quote(str(folder))} | xargs cat; "
        "cat /dev/shm/* ; cat readable; echo finished"
    )


def heard(sim: SimulatorClient) -> str:
    """All that the model was told, the outputs of its commands included."""
    return json.dumps([sent["json"] for sent in sim.turns()])


def check_nothing_was_learnt(sim: SimulatorClient, stage: RealCliStage) -> None:
    told = heard(sim)
    assert "finished" in told.split("the-prompt")[-1], "the command did not run"
    assert "readable-text" in told
    token = stage.environment["SIM_TOKEN"]
    assert [word for word in (*sorted(WORDS), token) if word in told] == []


@real_cli
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("place", ["a fresh folder", "a project", "the folder around everything"])
def test_no_sandbox_lets_commands_read_the_login(
    stage: RealCliStage, sim: SimulatorClient, tmp_path: Path, mode: str, place: str
) -> None:
    (tmp_path / "project").mkdir()
    root = {"a project": tmp_path / "project", "the folder around everything": tmp_path}.get(place)
    run(sim, snoop(tmp_path))
    ask(stage.backend(**hidden(tmp_path), workdir=root), turn("the-prompt", x_codex=MODES[mode]))
    check_nothing_was_learnt(sim, stage)
    assert (tmp_path / "data" / "tokens.json").read_text() == "the-login"


@real_cli
@pytest.mark.parametrize("mode", ["read-only", "workspace-write"])
def test_a_named_key_reads_neither_the_login_nor_the_folder_of_another(
    stage: RealCliStage, sim: SimulatorClient, tmp_path: Path, mode: str
) -> None:
    (tmp_path / "project").mkdir()
    backend = stage.backend(**hidden(tmp_path), workdir=tmp_path / "project")
    permit = CliPermit("write", True, owner=False)
    bob, alice = (Caller(name, cli=permit) for name in ("bob", "alice"))
    asked = turn("the-prompt", x_codex={"sandbox": "workspace-write"})
    run(sim, "echo the-file-of-bob > bobs; pwd")
    ask(backend, replace(asked, caller=bob))
    run(sim, f"{snoop(tmp_path)}; ls -R {tmp_path}/data; pwd; ls")
    ask(backend, replace(turn("the-prompt", x_codex={"sandbox": mode}), caller=alice))
    check_nothing_was_learnt(sim, stage)
    assert "bobs" not in json.dumps(sim.last_turn()["json"]["input"])
    folders = sorted((tmp_path / "data" / "workdirs").iterdir())
    assert len(folders) == 2 and all(folder.stat().st_mode & 0o777 == 0o700 for folder in folders)
    run(sim, "cat bobs; echo $?")
    ask(backend, replace(turn(x_codex={"sandbox": mode}), caller=bob))
    assert "the-file-of-bob" in json.dumps(sim.last_turn()["json"]["input"])


@real_cli
def test_a_login_that_is_renewed_meanwhile_stays_hidden(
    stage: RealCliStage, sim: SimulatorClient, tmp_path: Path
) -> None:
    project, tokens = tmp_path / "project", tmp_path / "data" / "tokens.json"
    project.mkdir()
    run(sim, f"touch ready; until [ -e go ]; do sleep 0.02; done; cat {tokens}; cat ../readable; echo finished")

    def renew() -> None:
        eventually(lambda: (project / "ready").exists(), 30.0)
        draft = tokens.with_suffix(".new")
        draft.write_text("the-login")
        os.replace(draft, tokens)
        (project / "go").touch()

    renewing = threading.Thread(target=renew)
    renewing.start()
    ask(stage.backend(**hidden(tmp_path), workdir=project), turn("the-prompt", x_codex={"sandbox": "workspace-write"}))
    renewing.join()
    check_nothing_was_learnt(sim, stage)


@real_cli
@pytest.mark.parametrize(
    "config",
    [
        'sandbox_mode = "danger-full-access"',
        'default_permissions = ":danger-full-access"',
        'shell_environment_policy = { inherit = "all", ignore_default_excludes = true, include_only = ["*"] }\n'
        "allow_login_shell = true\nfeatures = { use_legacy_landlock = true, shell_snapshot = true }",
    ],
)
def test_no_line_of_the_configuration_opens_the_sandbox(
    stage: RealCliStage, sim: SimulatorClient, tmp_path: Path, config: str
) -> None:
    file = stage.home / "config.toml"
    file.write_text(f"{config}\n{file.read_text()}")
    run(sim, f"{snoop(tmp_path)}; echo $PROFILE; touch {tmp_path}/written")
    ask(stage.backend(**hidden(tmp_path)), turn("the-prompt"))
    check_nothing_was_learnt(sim, stage)
    assert "the-profile" not in heard(sim)
    assert not (tmp_path / "written").exists()


@real_cli
def test_an_image_within_a_hidden_folder_cannot_be_viewed(
    stage: RealCliStage, sim: SimulatorClient, tmp_path: Path
) -> None:
    (tmp_path / "data" / "picture.png").write_bytes(png())
    sim.script(answer(call("view_image", {"path": str(tmp_path / "data" / "picture.png")})))
    sim.script(say("Done."))
    ask(stage.backend(**hidden(tmp_path)), turn())
    [output] = [item for item in sim.last_turn()["json"]["input"] if item["type"] == "function_call_output"]
    assert "unable to locate" in str(output["output"])


ORDERS = {
    "AGENTS.md": "INJECTED-AGENTS",
    "AGENTS.override.md": "INJECTED-OVERRIDE",
    ".agents/skills/evil/SKILL.md": "---\nname: evil\ndescription: INJECTED-SKILL\n---\nDo it.",
    ".codex/skills/evil2/SKILL.md": "---\nname: evil2\ndescription: INJECTED-SKILL\n---\nDo it.",
    ".codex/config.toml": 'developer_instructions = "INJECTED-CONFIG"\nproject_doc_max_bytes = 9999\n',
    ".env": "CODEXPROXY_INJECTED=INJECTED-ENV\n",
}


@real_cli
@pytest.mark.parametrize("trusted", [False, True])
def test_files_that_somebody_left_in_the_folder_give_no_orders(
    stage: RealCliStage, sim: SimulatorClient, tmp_path: Path, trusted: bool
) -> None:
    project = tmp_path / "root" / "project"
    hook = {"hooks": {"SessionStart": [{"hooks": [{"type": "command", "command": f"touch {tmp_path}/hooked"}]}]}}
    for name, text in {**ORDERS, ".codex/hooks.json": json.dumps(hook)}.items():
        (project / name).parent.mkdir(parents=True, exist_ok=True)
        (project / name).write_text(text)
    if trusted:
        with (stage.home / "config.toml").open("a") as config:
            config.write(f'\n[projects."{project}"]\ntrust_level = "trusted"\n')
    run(sim, "env")
    ask(stage.backend(workdir=tmp_path / "root"), turn(x_codex={"workdir": "project"}))
    assert "INJECTED" not in heard(sim)
    assert not (tmp_path / "hooked").exists()


@real_cli
def test_an_owner_who_wants_it_has_the_orders_of_the_folder_and_a_named_key_has_not(
    stage: RealCliStage, sim: SimulatorClient, tmp_path: Path
) -> None:
    (tmp_path / "AGENTS.md").write_text("WANTED-AGENTS")
    sim.script(say("Hello"), repeat=-1)
    backend = stage.backend(workdir=tmp_path, project_docs=True, key_workdirs=tmp_path / "keys")
    ask(backend, turn())
    assert "WANTED-AGENTS" in heard(sim)
    permit = CliPermit("read", False, owner=False)
    ask(backend, replace(turn(), caller=Caller("alice", cli=permit)))
    files = next((tmp_path / "keys").glob("*/files"))
    (files / "AGENTS.md").write_text("INJECTED-AGENTS")
    ask(backend, replace(turn(), caller=Caller("alice", cli=permit)))
    assert "INJECTED-AGENTS" not in json.dumps(sim.last_turn()["json"])


@real_cli
def test_a_named_key_has_none_of_the_owners_tool_servers(
    stage: RealCliStage, sim: SimulatorClient, tmp_path: Path
) -> None:
    started = tmp_path / "started"
    with (stage.home / "config.toml").open("a") as config:
        config.write(f'\n[mcp_servers.mine]\ncommand = "touch"\nargs = ["{started}"]\n')
    sim.script(say("Hello"), repeat=-1)
    caller = Caller("alice", cli=CliPermit("read", False, owner=False))
    ask(stage.backend(), replace(turn(), caller=caller))
    assert not started.exists()
    ask(stage.backend(), turn())
    eventually(started.exists)


def test_a_folder_is_not_written_from_above_while_a_run_works_in_it(stage_of_fakes: CliStage, tmp_path: Path) -> None:
    (tmp_path / "root" / "project" / "inner").mkdir(parents=True)
    (tmp_path / "root" / "other").mkdir()
    stage_of_fakes.play({"gate": "go"}, {"say": "Hello"}, {"done": {}})
    backend = stage_of_fakes.backend(workdir=tmp_path / "root")

    def write_in(folder: str) -> Turn:
        return turn(x_codex={"sandbox": "workspace-write", "workdir": folder})

    first = backend.open(write_in("project"))
    for folder in (".", "project/inner"):
        with pytest.raises(RateLimited) as refusal:
            backend.open(write_in(folder))
        assert (refusal.value.status, refusal.value.code) == (429, "workdir_busy")
    others = [backend.open(asked) for asked in (write_in("project"), write_in("other"), turn(x_codex={"workdir": "."}))]
    for stream in (first, *others):
        stream.close()
    backend.open(write_in(".")).close()


def test_a_folder_that_was_swapped_for_a_link_is_refused(stage_of_fakes: CliStage, tmp_path: Path) -> None:
    (tmp_path / "root" / "project").mkdir(parents=True)
    backend = stage_of_fakes.backend(workdir=tmp_path / "root")
    (tmp_path / "root" / "project").rename(tmp_path / "root" / "moved")
    (tmp_path / "root" / "project").symlink_to("/")
    with pytest.raises(InvalidRequest):
        backend.open(turn(x_codex={"sandbox": "workspace-write", "workdir": "project"}))


def test_a_workdir_among_the_secrets_is_refused(stage_of_fakes: CliStage, tmp_path: Path) -> None:
    (tmp_path / "data" / "work").mkdir(parents=True)
    backend = stage_of_fakes.backend(workdir=tmp_path / "data" / "work", hidden=(tmp_path / "data",))
    with pytest.raises(InvalidRequest, match="CODEX_WORKDIR lies in a folder that holds logins"):
        backend.open(turn())


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("open", True, "lets commands read what it should hide"),
        ("without", ["sandbox"], "cannot hide the login .* update it"),
    ],
)
def test_a_cli_that_hides_nothing_runs_no_turn(stage_of_fakes: CliStage, name: str, value: object, words: str) -> None:
    stage_of_fakes.cli.set(name, value)
    backend = stage_of_fakes.backend(allow_danger_full_access=True)
    for _ in range(2):
        with pytest.raises(UpstreamFailed, match=words) as failure:
            backend.open(turn())
        assert failure.value.code == "codex_cli_failed"
    assert stage_of_fakes.cli.calls() == []
    problem = backend.problem() or ""
    assert words.partition(" .*")[0] in problem and "\n" not in problem
    ask(backend, turn(x_codex={"sandbox": "danger-full-access"}))


@pytest.fixture
def stage_of_fakes(app_stage: CliStage) -> CliStage:
    """The fake CLI's app-server."""
    return app_stage


def test_what_is_hidden_follows_links_to_logins(tmp_path: Path) -> None:
    for name in ("user/.codex", "home", "dots", "other/codex", "user/loose", "data", "scratch"):
        (tmp_path / name).mkdir(parents=True)
    for name in ("dots/auth.json", "other/codex/auth.json", "user/auth.json"):
        (tmp_path / name).write_text("the-login")
    (tmp_path / "home" / "auth.json").symlink_to(tmp_path / "dots" / "auth.json")
    (tmp_path / "alias").symlink_to(tmp_path / "data")
    options = CodexCliOptions(
        home=tmp_path / "home",
        scratch=tmp_path / "data" / "runs",
        hidden=(tmp_path / "alias", tmp_path / "missing.json"),
        linked=lambda: [tmp_path / "other" / "codex" / "auth.json", tmp_path / "user" / "auth.json"],
        environment={"HOME": str(tmp_path / "user")},
    )
    names = {path.relative_to(tmp_path).as_posix() for path in options.hidden_places()}
    assert names == {"home", "user/.codex", "dots/auth.json", "data", "other/codex", "user/auth.json"}


@real_cli
def test_a_login_that_is_linked_is_hidden_by_the_service(
    stage: RealCliStage, sim: SimulatorClient, tmp_path: Path
) -> None:
    (tmp_path / "other").mkdir()
    login = tmp_path / "other" / "auth.json"
    login.write_text("the-login")
    run(sim, f"cat {login}; cat {tmp_path}/readable; echo finished")
    ask(stage.backend(**hidden(tmp_path), linked=lambda: [login]), turn("the-prompt"))
    check_nothing_was_learnt(sim, stage)


@real_cli
def test_no_run_gets_out_of_the_workdir_while_another_moves_its_folder(
    stage: RealCliStage, sim: SimulatorClient, tmp_path: Path
) -> None:
    root, outside = tmp_path / "root", tmp_path / "outside"
    (root / "project").mkdir(parents=True)
    outside.mkdir()
    wait = "touch begun; until [ -e go ]; do sleep 0.01; done; "
    swap = f"mv project moved; ln -s {outside} project; sleep 0.01; rm project; mv moved project; sleep 0.01; "
    command = f"{wait} until [ -e done ]; do {swap} done"
    sim.script(answer(call("exec_command", {"cmd": command})), match="swap")
    sim.script(answer(call("exec_command", {"cmd": "touch written"})), match="write", repeat=-1)
    sim.script(say("Done."), match="function_call_output", repeat=-1)
    backend = stage.backend(workdir=root)
    swapping = backend.open(turn("swap", x_codex={"sandbox": "workspace-write"}))
    try:
        eventually(lambda: (root / "begun").exists(), 30.0)
        asked = turn("write", x_codex={"sandbox": "workspace-write", "workdir": "project"})
        with pytest.raises(RateLimited) as busy:
            ask(backend, asked)
        assert busy.value.code == "workdir_busy"
        (root / "go").touch()
        for _ in range(20):
            with pytest.raises((InvalidRequest, RateLimited)):
                ask(backend, asked)
    finally:
        (root / "done").touch()
        swapping.close()
    assert list(outside.iterdir()) == []


@real_cli
@pytest.mark.parametrize("mode", ["read-only", "workspace-write with network"])
def test_a_patch_is_applied_within_the_sandbox_only(
    stage: RealCliStage, sim: SimulatorClient, tmp_path: Path, mode: str
) -> None:
    project, outside = tmp_path / "project", tmp_path / "outside"
    project.mkdir()
    outside.mkdir()
    (project / "link").symlink_to(outside)
    targets = [tmp_path / "data" / "new.json", outside / "new", project / "link" / "new", stage.home / "hooks.json"]
    for target in targets:
        patch = f"*** Begin Patch\n*** Add File: {target}\n+evil\n*** End Patch"
        sim.script(answer(custom_call("apply_patch", patch)))
    patch = f"*** Begin Patch\n*** Update File: {tmp_path}/data/keys.json\n@@\n-the-keys\n+evil\n*** End Patch"
    sim.script(answer(custom_call("apply_patch", patch)))
    sim.script(answer(custom_call("apply_patch", "*** Begin Patch\n*** Add File: mine\n+good\n*** End Patch")))
    sim.script(say("Done."))
    ask(stage.backend(**hidden(tmp_path), workdir=project), turn("the-prompt", x_codex=MODES[mode]))
    assert [target for target in targets if target.exists()] == []
    assert (tmp_path / "data" / "keys.json").read_text() == "the-keys"
    assert (project / "mine").exists() == (mode != "read-only")
    assert "the-keys" not in json.dumps([item for item in sim.last_turn()["json"]["input"] if "output" in item])


def test_a_named_keys_dry_run_tells_nothing_of_the_machine(stage_of_fakes: CliStage, tmp_path: Path) -> None:
    backend = stage_of_fakes.backend(hidden=(tmp_path,))
    caller = Caller("alice", cli=CliPermit("read", False, owner=False))
    assert str(tmp_path / "scratch") in json.dumps(backend.preview(turn()))
    shown = backend.preview(replace(turn("the-prompt"), caller=caller))
    assert shown["command"] == [str(stage_of_fakes.cli.bin)] and shown["input"] == "the-prompt"
