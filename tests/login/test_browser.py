import sys
import webbrowser
from pathlib import Path

import pytest

from codexproxy.login.oauth.login_method import BROWSER, DEVICE, choose_way, in_container, open_browser


@pytest.mark.parametrize(
    ("environment", "platform", "container", "way", "why"),
    [
        ({}, "darwin", False, BROWSER, "has a browser"),
        ({}, "win32", False, BROWSER, "has a browser"),
        ({"DISPLAY": ":0"}, "linux", False, BROWSER, "has a browser"),
        ({"WAYLAND_DISPLAY": "wayland-0"}, "linux", False, BROWSER, "has a browser"),
        ({"WSL_DISTRO_NAME": "Debian"}, "linux", False, BROWSER, "has a browser"),
        ({}, "linux", False, DEVICE, "no display"),
        ({"DISPLAY": ""}, "linux", False, DEVICE, "no display"),
        ({"SSH_CONNECTION": "a b c d", "DISPLAY": "localhost:10.0"}, "linux", False, DEVICE, "SSH"),
        ({"SSH_TTY": "/dev/ttys001"}, "darwin", False, DEVICE, "SSH"),
        ({"DISPLAY": ":0"}, "linux", True, DEVICE, "container"),
        ({"container": "podman"}, "linux", False, DEVICE, "container"),
        ({"DYNO": "web.1"}, "linux", False, DEVICE, "hosted"),
        ({"CODESPACES": "true", "DISPLAY": ":0"}, "linux", False, DEVICE, "cloud workspace"),
    ],
)
def test_the_way_follows_from_what_the_machine_looks_like(
    environment: dict[str, str], platform: str, container: bool, way: str, why: str
) -> None:
    choice = choose_way(environment, platform=platform, container=container)
    assert choice.way == way
    assert why in choice.why


def test_a_containers_file_is_noticed(tmp_path: Path) -> None:
    mark = tmp_path / ".dockerenv"
    assert not in_container((mark,))
    mark.write_text("")
    assert in_container((mark,))


def test_a_browser_is_opened(tmp_path: Path) -> None:
    script = tmp_path / "browser.py"
    script.write_text("import sys; open(sys.argv[1].removeprefix('file:'), 'w').close()")
    script_run = webbrowser.BackgroundBrowser([sys.executable, str(script), "%s"])
    assert open_browser(f"file:{tmp_path / 'opened'}", lambda: script_run)


def test_a_browser_that_would_take_the_terminal_is_not_opened() -> None:
    assert not open_browser("http://localhost/", lambda: webbrowser.GenericBrowser("lynx"))


@pytest.mark.parametrize("failure", [webbrowser.Error("none"), OSError("no such file")])
def test_no_browser_is_silent(failure: Exception, capfd: pytest.CaptureFixture[str]) -> None:
    def find() -> webbrowser.BaseBrowser:
        raise failure

    assert not open_browser("http://localhost/", find)
    assert capfd.readouterr() == ("", "")
