"""The quota on the command line, with and without an upstream that tells."""

import json
from pathlib import Path

import pytest

from codexproxy.cli.quota import quota_lines
from codexproxy.simulator.client import SimulatorClient
from tests.terminal import Done, run


def quota(home: Path, sim: SimulatorClient, *arguments: str) -> Done:
    environ = {"CODEX_BACKEND_URL": sim.backend_url, "CODEX_AUTH_ISSUER": sim.issuer_url}
    return run(home, "quota", *arguments, DATA_DIR=str(home), **environ)


def test_the_account_is_asked_and_its_windows_are_shown(tmp_path: Path, sim: SimulatorClient) -> None:
    (tmp_path / "tokens.json").write_text(json.dumps(sim.login()))
    assert "nothing is known" in quota(tmp_path, sim, "--offline").stdout
    shown = quota(tmp_path, sim).stdout.splitlines()
    assert shown[0] == "default (codex, plan plus)"
    assert "5-hour" in shown[1] and "12.0 %" in shown[1] and "resets" in shown[1]
    assert "weekly" in shown[2] and "at this pace" in shown[2]
    told = json.loads(quota(tmp_path, sim, "--json", "--offline").stdout)
    assert [window["label"] for window in told["providers"][0]["windows"]] == ["5-hour", "weekly"]


def test_the_use_is_shown_below_the_windows(tmp_path: Path, sim: SimulatorClient) -> None:
    (tmp_path / "tokens.json").write_text(json.dumps(sim.login()))
    environ = {"CODEX_BACKEND_URL": sim.backend_url, "CODEX_AUTH_ISSUER": sim.issuer_url, "DATA_DIR": str(tmp_path)}
    shown = run(tmp_path, "usage", **environ).stdout
    assert "weekly" in shown and shown.endswith("Nothing has been used yet.\n")
    told = json.loads(run(tmp_path, "usage", "--json", **environ).stdout)
    assert told["quota"][0]["windows"][0]["used_percent"] == 12


def test_without_a_login_the_next_step_is_shown(tmp_path: Path, sim: SimulatorClient) -> None:
    done = quota(tmp_path, sim)
    assert done.returncode == 0
    assert "codexproxy login" in done.stdout


def window(**fields: object) -> dict[str, object]:
    basics = {"label": "weekly", "used_percent": 50.0, "resets_at": None, "resets_at_local": None}
    return {**basics, "forecast_percent_at_reset": None, "forecast_runs_out_at": None, **fields}


@pytest.mark.parametrize(
    ("fields", "line"),
    [
        ({}, "  weekly   [##########..........]  50.0 %"),
        ({"used_percent": 250.0}, "  weekly   [####################] 250.0 %"),
        (
            {"resets_at": 7200, "resets_at_local": "soon"},
            "  weekly   [##########..........]  50.0 %  resets soon (in 2 h 0 min)",
        ),
        ({"forecast_percent_at_reset": 83.0}, "  weekly   [##########..........]  50.0 %; at this pace 83 % by then"),
    ],
)
def test_a_window_is_one_line(fields: dict[str, object], line: str) -> None:
    row = {"provider": "p", "type": "codex", "plan": None, "windows": [window(**fields)], "problem": None}
    assert list(quota_lines({"providers": [row], "use": [], "use_since_local": "x"}, 0.0)) == ["p (codex)", line]


def test_use_is_shown_the_most_first() -> None:
    use = {"model": "gpt-5.2", "turns": 1, "cached_tokens": 5, "output_tokens": 3}
    uses = [{"name": "bob", "input_tokens": 10, **use}, {"name": "ann", "input_tokens": 12345, **use}]
    lines = list(quota_lines({"providers": [], "use": uses, "use_since_local": "Monday"}, 0.0))
    assert lines[0] == "Use by key since Monday:"
    assert [line.split()[0] for line in lines[1:]] == ["ann", "bob"]
    assert "12,345 in (5 cached)" in lines[1]
