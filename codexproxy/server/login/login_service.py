"""Logging in and out over HTTP, as one worker does it."""

import logging
import threading
import time
from collections.abc import Callable
from typing import Any

from codexproxy.errors import ProxyError
from codexproxy.login.account import Login
from codexproxy.login.oauth.callback import Callback
from codexproxy.login.oauth.callback_endpoint import Landing
from codexproxy.login.oauth.device_flow import DeviceCode
from codexproxy.login.oauth.login_method import open_browser
from codexproxy.server.login.callback_app import Ended
from codexproxy.server.login.callback_server import CallbackServer, CallbackUnavailable

log = logging.getLogger(__name__)

_PASTE = (
    "If that browser is on another machine, it ends at an address that does not load: send that address to "
    'POST /auth/callback as {"url": "…"}.'
)
_OPEN = "Open authorization_url in a browser on this machine and sign in there. "
_OPEN_ANYWHERE = "Open authorization_url in any browser and sign in there. "


class LoginDesk:
    """Begins logins for callers over HTTP. What has begun can be finished in any worker of the host.

    Args:
        login: The login that is made.
        landing: Where the browser comes back to.
        timeout: Seconds the callback app waits.
        has_browser: Whether a browser opened here would be seen by a person.
        quota: The account's windows, for people and programs.
    """

    def __init__(
        self,
        login: Login,
        landing: Landing,
        timeout: float,
        *,
        has_browser: Callable[[], bool],
        quota: Callable[[], list[dict[str, Any]]],
    ) -> None:
        self._login = login
        self._landing = landing
        self._timeout = timeout
        self._has_browser = has_browser
        self._quota = quota
        self._gate = threading.Lock()
        self._server: CallbackServer | None = None
        self._device: DeviceCode | None = None

    def begin(self, *, open_here: bool) -> dict[str, Any]:
        """Begins a browser login.

        Args:
            open_here: Whether to open the browser of this machine, if it has one.

        Raises:
            DatabaseFailed: The attempt could not be remembered.
        """
        try:
            port, how = self._listen(), _OPEN + _PASTE
        except CallbackUnavailable as failure:
            log.warning("%s", failure)
            port, how = None, _OPEN_ANYWHERE + failure.message + " " + _PASTE
        attempt = self._login.flow.begin(None if port is None else self._landing.redirect_uri_at(port))
        return {
            "authorization_url": attempt.url,
            "state": attempt.state,
            "expires_in": max(0, round(attempt.expires_at / 1000 - time.time())),
            "instructions": how,
            "browser_opened": open_here and self._has_browser() and open_browser(attempt.url),
        }

    def begin_device(self) -> dict[str, Any]:
        """Begins a login by device code; a code that still waited here is given up.

        Raises:
            ProxyError: The issuer gave no code, or the disk would not keep the login.
        """
        self._login.attempts.tidy()  # a full disk is reported before the person enters a code
        code = self._login.device.begin()
        self._device = code
        threading.Thread(target=self._await_device, args=(code,), name="device-login", daemon=True).start()
        return {
            "verification_url": code.url,
            "user_code": code.user_code,
            "expires_in": max(0, round(code.expires_at - time.time())),
            "interval": code.interval,
            "instructions": f"Open {code.url} in any browser, sign in and enter {code.user_code}. "
            "Then GET /auth/status says who is signed in.",
        }

    def receive(self, callback: Callback) -> None:
        """Finishes a login whose address or code was pasted.

        Raises:
            ProxyError: See ``LoginFlow.receive``.
        """
        self._login.flow.receive(callback)
        self._login.credentials.latest()

    def status(self) -> dict[str, Any]:
        """Who is signed in; never a token."""
        return {**self._login.status().as_dict(), "quota": self._quota()}

    def log_out(self) -> dict[str, Any]:
        """Revokes and forgets the login.

        Raises:
            StorageFailed: It could not be deleted.
            LockTimeout: Somebody kept it locked.
        """
        done = self._login.end()
        return {"logged_out": True, "was_logged_in": done.was_logged_in, "revoked": done.revoked}

    def _listen(self) -> int:
        with self._gate:
            if self._server is None or not self._server.extend():
                server = CallbackServer(
                    self._landing,
                    self._login.flow,
                    self._timeout,
                    others_wait=self._others_wait,
                    on_end=self._told,
                )
                server.open()
                self._server = server
            return self._server.port

    def _others_wait(self) -> bool:
        try:
            return self._login.attempts.pending() > 0
        except ProxyError as failure:
            log.warning("Cannot tell whether another login is waiting: %s", failure)
            return False

    def _told(self, ended: Ended) -> None:
        if ended.failure is not None:
            log.info("The callback app has stopped: %s", ended.failure)

    def _await_device(self, code: DeviceCode) -> None:
        try:
            grant = self._login.device.wait(code, lambda: self._device is not code)
            self._login.flow.finish(grant)
        except ProxyError as failure:
            log.warning("The login by device code did not succeed: %s", failure)
