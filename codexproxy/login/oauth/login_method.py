"""Which way of logging in fits this machine, and the browser to do it in."""

import sys
import webbrowser
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

BROWSER = "browser"
DEVICE = "device"

# What says that the person's browser cannot reach a port of this machine; the
# first that is found is told.
_SIGNS: tuple[tuple[tuple[str, ...], str], ...] = (
    (("SSH_CONNECTION", "SSH_CLIENT", "SSH_TTY"), "this is an SSH session, so your browser is on another machine"),
    (("CODESPACES", "GITPOD_WORKSPACE_ID"), "this is a cloud workspace, so your browser is on another machine"),
    (("DYNO", "KUBERNETES_SERVICE_HOST"), "this runs on a hosted machine, which your browser cannot reach"),
)
_CONTAINER = "this runs in a container, which your browser cannot reach"
_NO_DISPLAY = "this machine has no display"
_DISPLAYS = ("DISPLAY", "WAYLAND_DISPLAY", "WSL_DISTRO_NAME")
_CONTAINER_FILES = (Path("/.dockerenv"), Path("/run/.containerenv"))


@dataclass(frozen=True, slots=True)
class Choice:
    """A way of logging in.

    Attributes:
        way: ``browser`` or ``device``.
        why: The reason, to be told to the person.
    """

    way: str
    why: str


def choose_way(environment: Mapping[str, str], *, platform: str = sys.platform, container: bool = False) -> Choice:
    """Chooses how to log in from what the machine looks like.

    Args:
        environment: Environment variables.
        platform: As ``sys.platform``.
        container: Whether this runs in a container.
    """
    for names, why in _SIGNS:
        if any(environment.get(name) for name in names):
            return Choice(DEVICE, why)
    if container or environment.get("container"):
        return Choice(DEVICE, _CONTAINER)
    if platform.startswith("linux") and not any(environment.get(name) for name in _DISPLAYS):
        return Choice(DEVICE, _NO_DISPLAY)
    return Choice(BROWSER, "this machine has a browser that can reach it")


def in_container(files: tuple[Path, ...] = _CONTAINER_FILES) -> bool:
    """Whether the files that container engines leave say so."""
    return any(file.exists() for file in files)


def open_browser(url: str, find: Callable[[], webbrowser.BaseBrowser] = webbrowser.get) -> bool:
    """Opens an address in the person's browser.

    A browser that would take over the terminal is not opened.

    Returns:
        Whether it was opened; a failure is silent, as the address is always printed as well.
    """
    try:
        browser = find()
        return type(browser) is not webbrowser.GenericBrowser and bool(browser.open(url))
    except (webbrowser.Error, OSError):
        return False
