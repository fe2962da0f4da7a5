"""The rules of the fake upstream: one row each, switchable by name.

A rule's value is ``true``, ``false``, or an object with its options. Two
options work for every rule: ``times`` (how often it may fire before it is
spent) and ``match`` (only requests that contain this text).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from codexproxy.simulator.http import Request

Value = bool | dict[str, Any]


class UnknownRule(ValueError):
    """No rule has this name."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One behaviour of the upstream.

    Attributes:
        name: What it is switched by.
        default: Whether it is on after a reset.
        meaning: What happens when it is on.
        evidence: Where the fact is written down: a heading in docs/reference, or a public source.
    """

    name: str
    default: bool
    meaning: str
    evidence: str


ON, OFF = True, False

_ROWS: list[tuple[str, bool, str, str]] = [
    # What a turn must look like: the gateway layer, {"detail": …}.
    ("authorization", ON, "401 for a missing, unknown, expired or revoked access token", "errors.md#http-errors"),
    (
        "account_id_must_match",
        ON,
        "401 when chatgpt-account-id is missing or of another account",
        "README.md#not-verified",
    ),
    (
        "user_agent_like_codex",
        OFF,
        "403 page when the User-Agent looks like a bare library",
        "requests.md#headers-of-a-turn",
    ),
    (
        "instructions_required",
        ON,
        "instructions missing or null is refused; an empty string is taken",
        "requests.md#instructions",
    ),
    ("instructions_non_empty", OFF, "an empty instructions string is refused as well", "requests.md#instructions"),
    ("instructions_exact", OFF, "instructions must equal the official text, byte for byte", "requests.md#instructions"),
    ("store_must_be_false", ON, "store absent or true is refused", "requests.md#body-of-a-turn"),
    ("stream_must_be_true", ON, "stream absent or false is refused", "requests.md#body-of-a-turn"),
    ("input_must_be_list", ON, "input missing or a string is refused", "errors.md#gateway-refusals"),
    ("system_messages_not_allowed", ON, "role system inside input is refused", "errors.md#gateway-refusals"),
    (
        "unsupported_parameter",
        ON,
        "any top-level key outside the allow-list is refused",
        "errors.md#unsupported-parameters",
    ),
    (
        "cache_breakpoint_refused",
        ON,
        "prompt_cache_breakpoint on a content part is refused",
        "errors.md#unsupported-parameters",
    ),
    (
        "service_tier_supported",
        ON,
        "service_tier other than priority is refused",
        "requests.md#options-of-the-cli-and-what-they-become, Soju06/codex-lb#154",
    ),
    ("model_supported", ON, "a model outside the catalogue is refused", "errors.md#gateway-refusals"),
    # What a turn must look like: the core layer, {"error": {…}}.
    ("effort_supported", ON, "reasoning.effort the model lacks is refused", "errors.md#model-layer-refusals"),
    (
        "verbosity_supported",
        ON,
        "text.verbosity other than medium on a model without it is refused",
        "openai/codex#9035",
    ),
    (
        "item_shape",
        ON,
        "unknown item types, roles and missing item fields are refused",
        "errors.md#model-layer-refusals, public API",
    ),
    (
        "tool_pairing",
        ON,
        "a call without its output, or the reverse, is refused",
        "requests.md#pairs-of-calls-and-outputs",
    ),
    (
        "content_types",
        ON,
        "input_text where output_text belongs, or the reverse, is refused",
        "requests.md#tool-outputs-and-message-parts",
    ),
    ("item_ids", ON, "an item id with a wrong prefix is refused", "errors.md#model-layer-refusals"),
    (
        "not_persisted",
        ON,
        "item_reference, or a reasoning id without encrypted_content: 404",
        "requests.md#nothing-is-persisted",
    ),
    ("tool_shape", ON, "a tool without type or name is refused", "errors.md#model-layer-refusals"),
    ("strict_schemas", ON, "a strict schema with optional or additional properties is refused", "public API"),
    ("json_word", ON, "json_object without the word json in the input is refused", "public API"),
    (
        "lite_header_checks",
        OFF,
        "the Responses-Lite header needs the lite shape",
        "requests.md#the-responses-lite-shape",
    ),
    (
        "lite_shape_required",
        OFF,
        "lite models take the lite shape only: 404 otherwise",
        "requests.md#the-responses-lite-shape",
    ),
    (
        "invalid_encrypted_content",
        OFF,
        "encrypted reasoning of another account or model is refused; option code",
        "requests.md#encrypted-reasoning",
    ),
    # Refusals that do not depend on the turn.
    ("overload_503", OFF, "503 server_is_overloaded; option code", "errors.md#http-errors"),
    (
        "overload_in_200",
        OFF,
        "a 200 stream whose first news is a failure; options code, message, event",
        "stream.md#refusals-inside-a-200",
    ),
    ("server_error_500", OFF, "500 with an error object; option status", "errors.md#http-errors"),
    (
        "usage_limit",
        OFF,
        "usage limit; options variant (429, 404, in_stream), type, resets_in_seconds",
        "errors.md#http-errors",
    ),
    (
        "rate_limit_short",
        OFF,
        "429 of another kind; option retry_after in seconds, none when omitted",
        "errors.md#http-errors",
    ),
    ("challenge_html", OFF, "403 page of the network in front; option status", "errors.md#cloudflare-pages"),
    ("deactivated", OFF, "402 deactivated_workspace", "errors.md#http-errors"),
    # What the answer looks like.
    ("empty_final_output", ON, "response.completed carries output: []", "stream.md#empty-final-output"),
    ("no_content_type", ON, "streams carry no content-type", "stream.md#events"),
    (
        "encrypted_only_if_included",
        ON,
        "reasoning has encrypted_content only when include asked for it",
        "stream.md#events",
    ),
    ("response_done", OFF, "the terminal event is called response.done", "stream.md#terminal-events"),
    ("flat_error", OFF, "error events have code and message at the top, not in an object", "stream.md#terminal-events"),
    ("socket_left_open", OFF, "nothing ends the body after the terminal event", "stream.md#terminal-events"),
    (
        "rate_limits_event",
        OFF,
        "a codex.rate_limits event after response.in_progress",
        "stream.md#refusals-inside-a-200",
    ),
    ("keepalives", OFF, "keepalive events while silent; options every_ms, comment", "stream.md#events"),
    (
        "safety_buffering",
        OFF,
        "response.metadata, long silence, then all at once; option ms",
        "stream.md#safety-buffering",
    ),
    ("retired_headers", OFF, "limits as reset-after-seconds instead of reset-at", "quota.md#response-headers"),
    # How the answer is written down.
    ("crlf", OFF, "lines end in CR LF", "SSE standard"),
    ("lone_cr", OFF, "lines end in CR", "SSE standard"),
    ("bom", OFF, "the stream begins with a byte order mark", "SSE standard"),
    ("no_space_after_data", OFF, "data:{…} without the space", "SSE standard"),
    ("multi_line_data", OFF, "the JSON is spread over several data lines", "SSE standard"),
    ("comments", OFF, "comment lines between events", "SSE standard"),
    ("no_event_lines", OFF, "no event: lines; the type is in the JSON only", "codex-cli.md#what-it-needs-in-a-stream"),
    ("extra_fields", OFF, "id:, retry: and unknown fields beside event and data", "SSE standard"),
    ("no_final_blank_line", OFF, "the last event lacks its blank line", "SSE standard"),
    ("done_marker", OFF, "data: [DONE] after the terminal event", "other gateways"),
    ("gzip", OFF, "the stream is gzip-coded, whatever was asked for", "RFC 9110 §8.4"),
    ("close_delimited", OFF, "no chunks: the body ends with the connection", "RFC 9112 §6.3"),
    ("chunk_extensions", OFF, "chunk sizes carry extensions", "RFC 9112 §7.1.1"),
    ("trailers", OFF, "trailer fields after the last chunk", "RFC 9112 §7.1.2"),
    # The issuer.
    ("auto_approve", OFF, "/oauth/authorize redirects at once, without the page", "for tests"),
    ("deny_login", OFF, "/oauth/authorize answers error=access_denied; option description", "sign-in.md#browser-login"),
    ("registered_ports_only", OFF, "redirect_uri must use port 1455 or 1457", "sign-in.md#browser-login"),
    ("refresh_expired", OFF, "refresh: 401 refresh_token_expired", "sign-in.md#token-refresh"),
    ("refresh_reused", OFF, "refresh: refresh_token_reused although it was not", "sign-in.md#token-refresh"),
    ("refresh_invalidated", OFF, "refresh: refresh_token_invalidated", "sign-in.md#token-refresh"),
    ("refresh_other_401", OFF, "refresh: 401 with a code nobody knows", "sign-in.md#token-refresh"),
    ("refresh_invalid_grant", OFF, "refresh: 400 invalid_grant, string form", "sign-in.md#token-refresh"),
    ("refresh_unavailable", OFF, "refresh: 5xx; option status", "sign-in.md#token-refresh"),
    (
        "refresh_still_expired",
        OFF,
        "refresh: 200 with an access token that is expired already",
        "sign-in.md#token-refresh",
    ),
    ("refresh_omits", OFF, "refresh: fields left out; option fields", "sign-in.md#token-refresh"),
    ("refresh_slow", OFF, "refresh: answers late; option ms", "sign-in.md#token-refresh"),
    ("refresh_cut_after_rotation", OFF, "refresh: rotates, then cuts the connection", "sign-in.md#token-refresh"),
    ("terminal_refresh_is_400", OFF, "terminal refresh errors come as 400 instead of 401", "sign-in.md#token-refresh"),
    ("reuse_revokes_family", OFF, "a reused refresh token kills the whole login", "README.md#not-verified"),
    ("oauth_string_errors", OFF, "token errors in the OAuth form: error is a string", "sign-in.md#code-exchange"),
    ("device_disabled", OFF, "device login is not enabled: 404", "sign-in.md#device-code"),
    ("device_pending_is_404", OFF, "pending polls answer 404 instead of 403", "sign-in.md#device-code"),
    # The other paths.
    ("models_unavailable", OFF, "the catalogue answers 5xx; option status", "models.md#the-catalogue"),
    ("client_version_hides_models", ON, "too old a client_version hides new models", "models.md#the-catalogue"),
    ("usage_windows_null", OFF, "wham/usage without any window", "quota.md#the-usage-report"),
]

RULES: dict[str, Rule] = {row[0]: Rule(*row) for row in _ROWS}


class RuleBook:
    """The current value of every rule."""

    def __init__(self) -> None:
        self._values: dict[str, Value] = {}
        self.reset()

    def reset(self) -> None:
        """All rules back to their defaults."""
        self._values = {name: rule.default for name, rule in RULES.items()}
        self._sort()

    def set(self, name: str, value: Value) -> None:
        """Switches one rule.

        Raises:
            UnknownRule: No such name.
        """
        self._values[checked(name)] = value
        self._sort()

    def _sort(self) -> None:
        # Rules without options hold for every request alike, so only the others are looked at each time.
        self._plain = {name: value for name, value in self._values.items() if value and not isinstance(value, dict)}
        self._special = {name: value for name, value in self._values.items() if isinstance(value, dict)}

    def values(self) -> dict[str, Value]:
        """Every rule and its value."""
        return dict(self._values)

    def active(self, request: Request, overrides: Mapping[str, Value] | None = None) -> "Active":
        """The rules that hold for one request; overrides come from its script."""
        if not overrides and not self._special:
            return Active(self._plain)
        values = {**self._plain, **self._special, **(overrides or {})}
        return Active({name: value for name, value in values.items() if _holds(value, request)})


def _holds(value: Value, request: Request) -> bool:
    if not isinstance(value, dict):
        return bool(value)
    match = value.get("match")
    return value.get("times", 1) > 0 and (match is None or request.contains(match))


def checked(name: str) -> str:
    """The name itself.

    Raises:
        UnknownRule: No rule has it.
    """
    if name not in RULES:
        raise UnknownRule(f"no rule is called {name!r}")
    return name


class Active:
    """The rules that hold for one request."""

    def __init__(self, values: Mapping[str, Value]) -> None:
        self._values = values

    def on(self, name: str) -> bool:
        """Whether the rule holds."""
        return name in self._values or checked(name) in self._values

    def fires(self, name: str) -> bool:
        """Whether the rule holds; spends one of its ``times``."""
        value = self._values.get(checked(name))
        if isinstance(value, dict) and "times" in value:
            if value["times"] <= 0:
                return False
            value["times"] -= 1
        return value is not None

    def option(self, name: str, option: str, default: Any = None) -> Any:
        """One option of a rule that holds."""
        value = self._values.get(checked(name))
        return value.get(option, default) if isinstance(value, dict) else default


def table() -> str:
    """All rules as text, one line each."""
    width = max(map(len, RULES))
    lines = [
        f"{rule.name:<{width}}  {'on ' if rule.default else 'off'}  {rule.meaning} [{rule.evidence}]"
        for rule in RULES.values()
    ]
    return "\n".join(lines)
