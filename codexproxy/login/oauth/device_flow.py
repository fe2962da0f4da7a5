"""Logging in by device code, for machines no browser can reach (docs/reference/sign-in.md#device-code)."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from codexproxy.errors import InvalidRequest, ProxyError, UpstreamFailed
from codexproxy.login.oauth.client import OAuthClient, exchange_failed, json_object, succeeded
from codexproxy.login.tokens.tokens import Grant
from codexproxy.outbound import Fetched
from codexproxy.protocol.numbers import finite

CODE_LASTS = 900.0
USUAL_INTERVAL = 5.0
LONGEST_INTERVAL = 60.0

_PENDING = frozenset({403, 404})


class DeviceLoginUnavailable(InvalidRequest):
    """The issuer does not offer device codes to this account or client."""

    code = "device_login_unavailable"


class DeviceCodeExpired(InvalidRequest):
    """Nobody entered the code in time."""

    code = "device_code_expired"


class DeviceLoginCancelled(InvalidRequest):
    """The login was given up on this side."""

    code = "login_cancelled"


@dataclass(frozen=True, slots=True)
class DeviceCode:
    """A code for a person to enter.

    Attributes:
        user_code: What to enter.
        url: Where to enter it.
        device_auth_id: Names the attempt to the issuer.
        interval: Seconds between two questions whether it was entered.
        expires_at: Until when it can be entered, epoch seconds.
    """

    user_code: str
    url: str
    device_auth_id: str = field(repr=False)
    interval: float
    expires_at: float


@dataclass(frozen=True, slots=True)
class Approval:
    """The code was entered. Here the issuer chose the PKCE pair."""

    code: str = field(repr=False)
    verifier: str = field(repr=False)


class DeviceLogin:
    """Device-code logins.

    Args:
        oauth: The issuer.
        clock: Epoch seconds.
        sleep: Waits that many seconds.
    """

    def __init__(
        self,
        oauth: OAuthClient,
        *,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], None] | None = None,
    ) -> None:
        self._oauth = oauth
        self._clock = clock
        self._sleep = sleep

    def begin(self) -> DeviceCode:
        """Asks for a code.

        Raises:
            DeviceLoginUnavailable: Device login is not enabled.
            UpstreamFailed: The issuer could not be reached, or its answer cannot be understood.
        """
        response = self._oauth.post("/api/accounts/deviceauth/usercode", json={"client_id": self._oauth.client_id})
        if response.status_code == 404:
            raise DeviceLoginUnavailable(
                "The login service does not offer device codes here. Use the browser login instead; it also works "
                "from another machine: open the address it shows there, and paste back the one you end at."
            )
        if not succeeded(response):
            raise exchange_failed(response)
        body = json_object(response)
        user_code, device_auth_id = _text(body, "user_code", "usercode"), _text(body, "device_auth_id")
        if not user_code or not device_auth_id:
            raise UpstreamFailed("The login service gave no device code. Please try again.")
        return DeviceCode(
            user_code, f"{self._oauth.issuer}/codex/device", device_auth_id, _interval(body), self._clock() + CODE_LASTS
        )

    def poll(self, code: DeviceCode) -> Approval | None:
        """Asks once whether the code was entered; None while it was not.

        Raises:
            ExchangeFailed: The issuer ended the attempt.
            UpstreamFailed: The issuer could not be reached, or its answer cannot be understood.
        """
        body = {"device_auth_id": code.device_auth_id, "user_code": code.user_code}
        response = self._oauth.post("/api/accounts/deviceauth/token", json=body)
        if response.status_code in _PENDING:
            return None
        if not succeeded(response):
            raise exchange_failed(response, secrets=(code.device_auth_id,))
        return _approval(response)

    def wait(self, code: DeviceCode, cancelled: Callable[[], bool] = lambda: False) -> Grant:
        """Polls until the code was entered, and exchanges what came of it.

        A slow or broken network is waited out until the code ends.

        Args:
            code: From ``begin``.
            cancelled: Asked before each poll whether to give up.

        Raises:
            DeviceCodeExpired: Nobody entered it in time.
            DeviceLoginCancelled: ``cancelled`` said so.
            ExchangeFailed: The issuer ended the attempt.
            UpstreamFailed: The issuer's answer cannot be understood, or the exchange did not reach it.
        """
        while self._clock() < code.expires_at:
            if cancelled():
                raise DeviceLoginCancelled("The login was cancelled.")
            approval = self._poll_patiently(code)
            if approval is not None:
                return self._oauth.exchange(approval.code, approval.verifier, self._redirect_uri)
            (self._sleep or time.sleep)(code.interval)
        raise DeviceCodeExpired("The code was not entered within 15 minutes. Start a new login for a new code.")

    @property
    def _redirect_uri(self) -> str:
        return f"{self._oauth.issuer}/deviceauth/callback"

    def _poll_patiently(self, code: DeviceCode) -> Approval | None:
        try:
            return self.poll(code)
        except ProxyError as failure:
            if not failure.retryable:
                raise
            return None


def _approval(response: Fetched) -> Approval:
    body = json_object(response)
    code, verifier = _text(body, "authorization_code"), _text(body, "code_verifier")
    if not code or not verifier:
        raise UpstreamFailed("The login service's approval lacks a code. Please start a new login.", retryable=False)
    return Approval(code, verifier)


def _interval(body: dict[str, Any]) -> float:
    # A string in the live service's answer, "5".
    return finite(body.get("interval"), 0.0, LONGEST_INTERVAL) or USUAL_INTERVAL


def _text(body: dict[str, Any], *names: str) -> str:
    return next((body[name] for name in names if isinstance(body.get(name), str) and body[name]), "")
