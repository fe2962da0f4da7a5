"""A headless Chromium, steered over the DevTools protocol through two pipes."""

import base64
import json
import os
import select
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from tests.patience import patient

PATIENCE = 30.0
NAMES = ("chromium", "chromium-browser", "google-chrome")

_FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--no-proxy-server",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--remote-debugging-pipe",
)


def executable() -> str:
    """The browser; skips the test when there is none."""
    found = next(filter(None, map(shutil.which, NAMES)), None)
    if found is None:
        pytest.skip("no Chromium is installed (Debian's package is called chromium)")
    return found


class Chromium:
    """One browser process; use it as a context manager.

    Args:
        folder: Its empty user data folder.
        flags: Further flags of the command line.
    """

    def __init__(self, folder: Path, *flags: str) -> None:
        commands, self._write = os.pipe()
        self._read, answers = os.pipe()
        # The protocol's pipes are descriptors 3 and 4 of the browser.
        self._process = subprocess.Popen(
            [executable(), *_FLAGS, *flags, f"--user-data-dir={folder}", "about:blank"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={"PATH": os.environ["PATH"], "HOME": str(folder)},
            close_fds=False,
            preexec_fn=lambda: _place(commands, answers),
        )
        os.close(commands)
        os.close(answers)
        self._number = 0
        self._received = b""
        self.events: list[dict[str, Any]] = []

    def call(self, method: str, session: str | None = None, **parameters: Any) -> Any:
        """One command and its result."""
        self._number += 1
        command = {"id": self._number, "method": method, "params": parameters}
        os.write(self._write, json.dumps(command | ({"sessionId": session} if session else {})).encode() + b"\0")
        deadline = time.monotonic() + patient(PATIENCE)
        while (message := self.next(deadline)).get("id") != self._number:
            self.events.append(message)
        assert "error" not in message, message
        return message["result"]

    def next(self, deadline: float) -> dict[str, Any]:
        """The next message of the browser."""
        while b"\0" not in self._received:
            ready = select.select([self._read], [], [], max(deadline - time.monotonic(), 0))[0]
            assert ready, "the browser did not answer in time"
            piece = os.read(self._read, 1 << 20)
            assert piece, "the browser has ended"
            self._received += piece
        message, _, self._received = self._received.partition(b"\0")
        return json.loads(message)

    def tab(self, **options: Any) -> "Tab":
        """A tab with cookies and a cache of its own."""
        return Tab(self, **options)

    def __enter__(self) -> "Chromium":
        return self

    def __exit__(self, *exception: object) -> None:
        os.close(self._write)  # the browser ends when its commands do
        try:
            self._process.wait(patient(10))
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        os.close(self._read)


class Tab:
    """One page.

    Args:
        browser: Shows it.
        scheme: What the person prefers, ``light`` or ``dark``.
        width: Of the window, in pixels.
    """

    def __init__(self, browser: Chromium, scheme: str = "light", width: int = 900) -> None:
        self._browser = browser
        context = browser.call("Target.createBrowserContext")["browserContextId"]
        target = browser.call("Target.createTarget", url="about:blank", browserContextId=context)["targetId"]
        self._session = browser.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=640, deviceScaleFactor=1, mobile=False)

    def call(self, method: str, **parameters: Any) -> Any:
        """One command to this page."""
        return self._browser.call(method, self._session, **parameters)

    def open(self, url: str) -> None:
        """Goes to an address."""
        self.call("Page.navigate", url=url)

    def run(self, script: str) -> Any:
        """The value of an expression in the page."""
        return self.call("Runtime.evaluate", expression=script, returnByValue=True)["result"].get("value")

    def wait_for(self, script: str) -> Any:
        """Waits until an expression is true, whatever page is there by then."""
        deadline = time.monotonic() + patient(PATIENCE)
        while not (value := self.run(f"(() => {{ try {{ return {script} }} catch {{ return null }} }})()")):
            assert time.monotonic() < deadline, f"{script} did not come true on {self.run('location.href')}"
            time.sleep(0.05)
        return value

    def picture(self, path: Path) -> None:
        """Saves a screenshot."""
        path.write_bytes(base64.b64decode(self.call("Page.captureScreenshot")["data"]))

    def complaints(self) -> list[str]:
        """What the browser found wrong with this page: blocked styles, errors of scripts, failed loads."""
        origin = self.run("location.origin")
        entries = [event["params"]["entry"] for event in self._events() if event["method"] == "Log.entryAdded"]
        mine = [entry for entry in entries if entry.get("url", origin).startswith(origin)]
        return [entry["text"] for entry in mine if entry["level"] in ("error", "warning")]

    def asked(self) -> list[str]:
        """Every address this page asked for."""
        events = [event["params"] for event in self._events() if event["method"] == "Network.requestWillBeSent"]
        return [event["request"]["url"] for event in events]

    def _events(self) -> list[dict[str, Any]]:
        return [event for event in self._browser.events if event.get("sessionId") == self._session]


def _place(commands: int, answers: int) -> None:
    # Out of the way first, as each may be the other's place.
    commands, answers = os.dup(commands), os.dup(answers)
    high = [os.dup2(commands, 60), os.dup2(answers, 61)]
    os.dup2(high[0], 3)
    os.dup2(high[1], 4)
