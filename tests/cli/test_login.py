"""``codexproxy login``, ``logout`` and ``status`` at a pseudo-terminal."""

import json
import os
import socket
import subprocess
import sys
import time
from typing import Any

import pytest

from codexproxy.protocol.quota import Quota, QuotaWindow
from codexproxy.upstream.quota_store import QuotaBook
from tests.cli.home import Home
from tests.patience import patient
from tests.pseudo_terminal import ROOT, Terminal
from tests.service import free_port, wait_until
from tests.visitor import authorized, query_of, visit

SIGNED_IN = r"Signed in as dev@example\.com \(plan plus\)\."


def url_in(terminal: Terminal) -> str:
    return terminal.expect(r"  (http://\S+/oauth/authorize\S+)\s")[1]


def test_by_device_code(home: Home) -> None:
    terminal = home.at_terminal("login", "--device")
    code = terminal.expect(r"Enter  ([A-Z0-9]{4}-[A-Z0-9]{5})")[1]
    assert f"{home.sim.issuer_url}/codex/device" in terminal.shown
    assert not home.tokens.exists()
    assert home.sim.approve_device(code)
    terminal.expect(SIGNED_IN)
    assert terminal.end() == 0
    stored = home.stored()
    assert stored["access_token"] not in terminal.shown
    assert stored["refresh_token"] not in terminal.shown


def test_paste_is_offered_beside_the_device_code(home: Home) -> None:
    terminal = home.at_terminal("login", "--device")
    terminal.type(authorized(url_in(terminal)))
    terminal.expect(SIGNED_IN)
    assert terminal.end() == 0
    assert home.stored()["refresh_token"].startswith("rt_")


def test_where_device_codes_are_not_offered_paste_remains(home: Home) -> None:
    home.sim.rules(device_disabled=True)
    terminal = home.at_terminal("login", "--device")
    terminal.expect("offers no device codes here")
    terminal.type(authorized(url_in(terminal)))
    terminal.expect(SIGNED_IN)
    assert terminal.end() == 0


@pytest.mark.parametrize("what", ["address", "query", "code", "quoted"])
def test_by_paste(home: Home, what: str) -> None:
    terminal = home.at_terminal("login", "--paste")
    address = authorized(url_in(terminal))
    forms = {
        "address": address,
        "query": address.partition("?")[2],
        "code": query_of(address)["code"],
        "quoted": f"'{address}'",
    }
    terminal.type(forms[what])
    terminal.expect(SIGNED_IN)
    assert terminal.end() == 0
    assert home.stored()["account_id"]


def test_a_wrong_paste_is_told_and_another_may_follow(home: Home) -> None:
    terminal = home.at_terminal("login", "--paste")
    address = authorized(url_in(terminal))
    terminal.type("")
    terminal.type("http://localhost:1455/auth/callback")
    terminal.expect("There is no code in that address")
    terminal.type("http://localhost:1455/auth/callback?code=ac_stolen&state=forged")
    terminal.expect("State mismatch")
    terminal.type("ac_hal")
    terminal.expect("paste it again")
    terminal.type(address)
    terminal.expect(SIGNED_IN)
    assert terminal.end() == 0
    assert home.sim.counters()["exchanges"] == 1


def test_a_paste_through_a_pipe_needs_no_terminal(home: Home) -> None:
    basics = {"PATH": os.environ["PATH"], "HOME": str(home.folder), "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        [sys.executable, "-m", "codexproxy", "login", "--paste", "--json"],
        env={**basics, **home.environ},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr and process.stdin and process.stdout
        url = next(line.strip() for line in process.stderr if "/oauth/authorize" in line)
        process.stdin.write(authorized(url))
        process.stdin.close()
        shown = json.load(process.stdout)
        assert process.wait(patient(30)) == 0
    assert (shown["email"], shown["logged_in"]) == ("dev@example.com", True)


def test_a_pipe_that_ends_without_a_code_is_a_failure(home: Home) -> None:
    done = home.run("login", "--paste", typed="nonsense/without?a-c0de")
    assert done.returncode == 1
    assert "Nothing usable was pasted" in done.stderr
    assert not home.tokens.exists()


def test_by_browser_through_the_callback_app(home: Home) -> None:
    terminal = home.at_terminal("login", "--browser")
    url = url_in(terminal)
    assert query_of(url)["redirect_uri"].endswith(f":{home.environ['CODEX_CALLBACK_PORT']}/auth/callback")
    page = visit(url)
    assert "dev@example.com" in page.text
    terminal.expect(SIGNED_IN)
    assert terminal.end() == 0
    assert home.stored()["updated_at"] > 0


def test_the_official_instructions_are_fetched_with_the_login(home: Home) -> None:
    terminal = home.at_terminal("login", "--browser")
    visit(url_in(terminal))
    assert terminal.end() == 0
    listed = json.loads(home.run("prompts", "list", "--json").stdout)["prompts"]
    assert {entry["source"] for entry in listed} == {"catalogue"}
    home.sim.rules(models_unavailable=True)
    again = home.at_terminal("login", "--browser")
    visit(url_in(again))
    again.expect("codexproxy prompts sync")
    assert again.end() == 0


def test_a_login_that_was_denied_is_told_at_the_terminal_and_in_the_browser(home: Home) -> None:
    home.sim.rules(auto_approve=False, deny_login={"description": "nope"})
    terminal = home.at_terminal("login", "--browser")
    page = visit(url_in(terminal))
    assert page.status == 200
    assert "Sign-in failed: nope" in page.text
    terminal.expect("Sign-in failed: nope")
    assert terminal.end() == 1
    assert not home.tokens.exists()


def test_a_newer_login_takes_the_port_of_an_older_one(home: Home) -> None:
    older = home.at_terminal("login", "--browser")
    url_in(older)
    newer = home.at_terminal("login", "--browser")
    url = url_in(newer)
    older.expect("another login took its place")
    assert older.end() == 1
    assert visit(url).status == 200
    newer.expect(SIGNED_IN)
    assert newer.end() == 0


def test_the_browser_login_is_also_finished_by_paste(home: Home) -> None:
    terminal = home.at_terminal("login", "--browser")
    terminal.type(authorized(url_in(terminal)))
    terminal.expect(SIGNED_IN)
    assert terminal.end() == 0


def test_control_c_ends_it_and_frees_the_port(home: Home) -> None:
    terminal = home.at_terminal("login", "--browser")
    url_in(terminal)
    terminal.expect("press Enter")
    os.killpg(terminal.process.pid, 2)
    assert terminal.end() == 1
    again = home.at_terminal("login", "--browser")
    assert query_of(url_in(again))["redirect_uri"].endswith(f":{home.environ['CODEX_CALLBACK_PORT']}/auth/callback")


@pytest.mark.parametrize(
    ("environ", "words"),
    [
        ({"SSH_CONNECTION": "10.0.0.2 1 10.0.0.1 22", "DISPLAY": ":0"}, "with a code, because this is an SSH session"),
        ({"container": "podman", "DISPLAY": ":0"}, "with a code, because this runs in a container"),
        ({}, "with a code, because this"),
    ],
)
def test_without_options_it_looks_and_says_why(home: Home, environ: dict[str, str], words: str) -> None:
    terminal = home.at_terminal("login", **environ)
    terminal.expect(words)
    code = terminal.expect(r"Enter  (\S+)")[1]
    home.sim.approve_device(code)
    terminal.expect(SIGNED_IN)


@pytest.mark.parametrize(
    "arguments",
    [
        ["login", "--device", "--export"],
        ["login", "--share"],
        ["login", "--profile", "../../etc"],
        ["login", "--profile", ".hidden"],
        ["status", "--profile", "a/b"],
    ],
)
def test_options_that_do_not_fit_are_wrong_usage(home: Home, arguments: list[str]) -> None:
    done = home.run(*arguments)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr


def test_a_profile_has_a_login_of_its_own(home: Home) -> None:
    home.login(email="first@example.com")
    terminal = home.at_terminal("login", "--paste", "--profile", "work")
    terminal.type(authorized(url_in(terminal)))
    terminal.expect(SIGNED_IN)
    assert terminal.end() == 0
    assert (home.data / "profiles" / "work" / "tokens.json").exists()
    assert json.loads(home.run("status", "--json", "--profile", "work").stdout)["email"] == "dev@example.com"
    assert json.loads(home.run("status", "--json").stdout)["email"] == "first@example.com"
    nobody = home.run("status", "--profile", "play")
    assert nobody.returncode == 1
    assert "codexproxy login --profile play" in nobody.stdout


def test_status_shows_all_but_tokens(home: Home) -> None:
    tokens = home.login(plan="team")
    done = home.run("status")
    assert done.returncode == 0
    for words in ("dev@example.com", "team", tokens["account_id"], "Access token  ends", "in 9 days", "tokens.json"):
        assert words in done.stdout
    shown = json.loads(home.run("status", "--json").stdout)
    assert (shown["logged_in"], shown["state"]) == (True, "ok")
    for name in ("access_token", "refresh_token", "id_token"):
        assert tokens[name] not in done.stdout + json.dumps(shown)


def test_status_shows_quota(home: Home) -> None:
    home.login()
    window = QuotaWindow("secondary", 42.0, 604_800, time.time() + 86_400)
    book = QuotaBook(home.data / "quotas.sqlite3")
    book.note("default", Quota((window,), "plus", time.time()))
    book.close()
    done = home.run("status")
    assert "Quota         weekly: 42 % used, starts again" in done.stdout
    shown = json.loads(home.run("status", "--json").stdout)
    assert [(row["label"], row["used_percent"]) for row in shown["quota"]] == [("weekly", 42.0)]


def test_status_without_a_login_makes_nothing_and_fails(home: Home) -> None:
    done = home.run("status")
    assert done.returncode == 1
    assert "codexproxy login" in done.stdout
    assert not home.data.exists()
    assert json.loads(home.run("status", "--json").stdout)["logged_in"] is False


@pytest.mark.parametrize("content", ["", "{", "[]", '{"access_token": 5}', "\x00" * 100])
def test_a_broken_login_file_is_told_by_name(home: Home, content: str) -> None:
    home.login()
    home.tokens.write_text(content)
    done = home.run("status")
    assert done.returncode == 1
    assert "codexproxy login" in done.stdout
    assert "Traceback" not in done.stderr
    assert home.run("logout").returncode == 0
    assert not home.tokens.exists()


def test_status_tells_of_a_pair_that_is_newer_than_the_variable(home: Home) -> None:
    before = home.login()
    home.login()
    done = home.run("status", CODEX_TOKENS_JSON=json.dumps(before))
    assert done.returncode == 0
    assert "codexproxy login --export" in done.stdout


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ('{"access_token": "a", "refresh_token": "r"}', "takes when it starts"),
        ('{"secret": "swordfish"}', "CODEX_TOKENS_JSON holds no readable login"),
    ],
)
def test_status_tells_of_a_variable_that_no_service_has_taken_yet(home: Home, content: str, words: str) -> None:
    done = home.run("status", CODEX_TOKENS_JSON=content)
    assert done.returncode == 1
    assert words in done.stdout and "swordfish" not in done.stdout


def test_export_prints_what_the_variable_takes(home: Home) -> None:
    tokens = home.login()
    done = home.run("login", "--export")
    assert done.returncode == 0
    assert json.loads(done.stdout) == tokens
    assert done.stdout.count("\n") == 1
    assert "secret" in done.stderr
    assert home.run("login", "--export", DATA_DIR=str(home.folder / "empty")).returncode == 1


def test_an_exported_login_can_be_moved_so_that_no_two_hosts_spend_it(home: Home) -> None:
    tokens = home.login()
    done = home.run("login", "--export", "--move")
    assert (done.returncode, json.loads(done.stdout)) == (0, tokens)
    assert not home.tokens.exists()
    # It goes on elsewhere, so it is not revoked.
    assert home.sim.counters()["revocations"] == 0
    assert home.run("login", "--export", "--move").returncode == 1
    assert home.run("login", "--move").returncode == 2


def test_logout_revokes_and_deletes(home: Home) -> None:
    home.login()
    assert home.run("logout").stdout == "Signed out.\n"
    assert not home.tokens.exists()
    assert home.sim.counters()["revocations"] == 1
    assert home.run("logout").stdout == "Nobody was signed in.\n"


def test_logout_works_while_the_login_service_is_away(home: Home) -> None:
    home.login()
    done = home.run("logout", CODEX_AUTH_ISSUER="http://127.0.0.1:1")
    assert done.returncode == 0
    assert "could not be reached" in done.stdout
    assert not home.tokens.exists()


def test_a_login_service_that_is_away_is_told_without_a_traceback(home: Home) -> None:
    done = home.run("login", "--device", CODEX_AUTH_ISSUER="http://127.0.0.1:1")
    assert done.returncode == 1
    assert "could not be reached" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("way", ["--device", "--browser", "--paste"])
def test_a_folder_that_keeps_nothing_is_told_before_anybody_signs_in(home: Home, way: str) -> None:
    done = home.run("login", way, DATA_DIR="/proc/nowhere")
    assert done.returncode == 1
    assert "data folder cannot be used" in done.stderr
    assert "Traceback" not in done.stderr
    assert home.sim.counters()["total_requests"] == 0


def test_a_busy_port_leaves_the_browser_login_by_paste(home: Home) -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = str(holder.getsockname()[1])
        terminal = home.at_terminal("login", "--browser", CODEX_CALLBACK_PORT=port)
        terminal.expect("Address already in use")
        terminal.type(authorized(url_in(terminal)))
        terminal.expect(SIGNED_IN)
        assert terminal.end() == 0
        assert home.run("login", "--browser", CODEX_CALLBACK_PORT=port).returncode == 1


def test_serve_offers_the_login_and_serves_meanwhile(home: Home) -> None:
    port = str(free_port())
    terminal = home.at_terminal("serve", PORT=port, CODEX_BACKEND_URL=home.sim.backend_url)
    terminal.expect("You are not signed in")
    terminal.expect("Press Enter to sign in now")
    answer = wait_until(lambda: reached(f"http://127.0.0.1:{port}/ready"), "the server")
    assert answer.status == 503
    terminal.type("")
    home.sim.approve_device(terminal.expect(r"Enter  ([A-Z0-9]{4}-[A-Z0-9]{5})")[1])
    terminal.expect(SIGNED_IN)
    wait_until(lambda: visit(f"http://127.0.0.1:{port}/ready").status == 200, "readiness")
    os.killpg(terminal.process.pid, 2)
    assert terminal.end() == 0


def reached(url: str) -> Any:
    try:
        return visit(url)
    except OSError:
        return None
