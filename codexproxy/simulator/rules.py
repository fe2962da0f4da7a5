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
        evidence: Where the fact is written down (UPSTREAM.md §, COMPAT.md U).
    """

    name: str
    default: bool
    meaning: str
    evidence: str


ON, OFF = True, False

_ROWS: list[tuple[str, bool, str, str]] = [
    # What a turn must look like: the gateway layer, {"detail": …}.
    ("authorization", ON, "401 for a missing, unknown, expired or revoked access token", "§3.7"),
    (
        "account_id_must_match",
        ON,
        "401 when chatgpt-account-id is missing or of another account",
        "§3.1, body unverified §10e",
    ),
    ("user_agent_like_codex", OFF, "403 page when the User-Agent looks like a bare library", "§3.1"),
    ("instructions_required", ON, "instructions missing or null is refused; an empty string is taken", "§3.6, U2"),
    ("instructions_non_empty", OFF, "an empty instructions string is refused as well", "§3.2, U2"),
    ("instructions_exact", OFF, "instructions must equal the official text, byte for byte", "§3.6, U3"),
    ("store_must_be_false", ON, "store absent or true is refused", "§3.6, U1"),
    ("stream_must_be_true", ON, "stream absent or false is refused", "§3.6, U1"),
    ("input_must_be_list", ON, "input missing or a string is refused", "§3.6"),
    ("system_messages_not_allowed", ON, "role system inside input is refused", "§3.6, U4"),
    ("unsupported_parameter", ON, "any top-level key outside the allow-list is refused", "§3.6, U5"),
    ("cache_breakpoint_refused", ON, "prompt_cache_breakpoint on a content part is refused", "§3.6, U5"),
    ("service_tier_supported", ON, "service_tier other than priority is refused", "§3.3, Soju06/codex-lb#154"),
    ("model_supported", ON, "a model outside the catalogue is refused", "§3.6"),
    # What a turn must look like: the core layer, {"error": {…}}.
    ("effort_supported", ON, "reasoning.effort the model lacks is refused", "§3.6"),
    (
        "verbosity_supported",
        ON,
        "text.verbosity other than medium on a model without it is refused",
        "openai/codex#9035",
    ),
    ("item_shape", ON, "unknown item types, roles and missing item fields are refused", "§3.6, public API"),
    ("tool_pairing", ON, "a call without its output, or the reverse, is refused", "§3.6, U15"),
    ("content_types", ON, "input_text where output_text belongs, or the reverse, is refused", "§3.6, U16"),
    ("item_ids", ON, "an item id with a wrong prefix is refused", "§3.6"),
    ("not_persisted", ON, "item_reference, or a reasoning id without encrypted_content: 404", "§3.6, U12"),
    ("tool_shape", ON, "a tool without type or name is refused", "§3.6"),
    ("strict_schemas", ON, "a strict schema with optional or additional properties is refused", "public API"),
    ("json_word", ON, "json_object without the word json in the input is refused", "public API"),
    ("lite_header_checks", OFF, "the Responses-Lite header needs the lite shape", "§3.4"),
    ("lite_shape_required", OFF, "lite models take the lite shape only: 404 otherwise", "§3.4, U17 (contested)"),
    (
        "invalid_encrypted_content",
        OFF,
        "encrypted reasoning of another account or model is refused; option code",
        "§3.6, U14",
    ),
    # Refusals that do not depend on the turn.
    ("overload_503", OFF, "503 server_is_overloaded; option code", "§3.7"),
    ("overload_in_200", OFF, "a 200 stream whose first news is a failure; options code, message, event", "§4.2, U9"),
    ("server_error_500", OFF, "500 with an error object; option status", "§3.7"),
    ("usage_limit", OFF, "usage limit; options variant (429, 404, in_stream), type, resets_in_seconds", "§3.7, U10"),
    ("rate_limit_short", OFF, "429 of another kind; option retry_after in seconds, none when omitted", "§3.7"),
    ("challenge_html", OFF, "403 page of the network in front; option status", "§3.7, U20"),
    ("deactivated", OFF, "402 deactivated_workspace", "§3.7"),
    # What the answer looks like.
    ("empty_final_output", ON, "response.completed carries output: []", "§4, U6"),
    ("no_content_type", ON, "streams carry no content-type", "recordings/README.md"),
    ("encrypted_only_if_included", ON, "reasoning has encrypted_content only when include asked for it", "§4"),
    ("response_done", OFF, "the terminal event is called response.done", "U7"),
    ("flat_error", OFF, "error events have code and message at the top, not in an object", "U7"),
    ("socket_left_open", OFF, "nothing ends the body after the terminal event", "U8"),
    ("rate_limits_event", OFF, "a codex.rate_limits event after response.in_progress", "§4, U9"),
    ("keepalives", OFF, "keepalive events while silent; options every_ms, comment", "§4"),
    ("safety_buffering", OFF, "response.metadata, long silence, then all at once; option ms", "U22"),
    ("retired_headers", OFF, "limits as reset-after-seconds instead of reset-at", "§3.8"),
    # How the answer is written down.
    ("crlf", OFF, "lines end in CR LF", "SSE standard"),
    ("lone_cr", OFF, "lines end in CR", "SSE standard"),
    ("bom", OFF, "the stream begins with a byte order mark", "SSE standard"),
    ("no_space_after_data", OFF, "data:{…} without the space", "SSE standard"),
    ("multi_line_data", OFF, "the JSON is spread over several data lines", "SSE standard"),
    ("comments", OFF, "comment lines between events", "SSE standard"),
    ("no_event_lines", OFF, "no event: lines; the type is in the JSON only", "§4.1"),
    ("extra_fields", OFF, "id:, retry: and unknown fields beside event and data", "SSE standard"),
    ("no_final_blank_line", OFF, "the last event lacks its blank line", "SSE standard"),
    ("done_marker", OFF, "data: [DONE] after the terminal event", "other gateways"),
    ("gzip", OFF, "the stream is gzip-coded, whatever was asked for", "RFC 9110 §8.4"),
    ("close_delimited", OFF, "no chunks: the body ends with the connection", "RFC 9112 §6.3"),
    ("chunk_extensions", OFF, "chunk sizes carry extensions", "RFC 9112 §7.1.1"),
    ("trailers", OFF, "trailer fields after the last chunk", "RFC 9112 §7.1.2"),
    # The issuer.
    ("auto_approve", OFF, "/oauth/authorize redirects at once, without the page", "for tests"),
    ("deny_login", OFF, "/oauth/authorize answers error=access_denied; option description", "§2.1"),
    ("registered_ports_only", OFF, "redirect_uri must use port 1455 or 1457", "§2.1"),
    ("refresh_expired", OFF, "refresh: 401 refresh_token_expired", "§2.3"),
    ("refresh_reused", OFF, "refresh: refresh_token_reused although it was not", "§2.3"),
    ("refresh_invalidated", OFF, "refresh: refresh_token_invalidated", "§2.3"),
    ("refresh_other_401", OFF, "refresh: 401 with a code nobody knows", "§2.3"),
    ("refresh_invalid_grant", OFF, "refresh: 400 invalid_grant, string form", "§2.3"),
    ("refresh_unavailable", OFF, "refresh: 5xx; option status", "§2.3"),
    ("refresh_still_expired", OFF, "refresh: 200 with an access token that is expired already", "§2.3"),
    ("refresh_omits", OFF, "refresh: fields left out; option fields", "§2.3"),
    ("refresh_slow", OFF, "refresh: answers late; option ms", "§2.3"),
    ("refresh_cut_after_rotation", OFF, "refresh: rotates, then cuts the connection", "§2.3"),
    ("terminal_refresh_is_400", OFF, "terminal refresh errors come as 400 instead of 401", "§2.3, U23"),
    ("reuse_revokes_family", OFF, "a reused refresh token kills the whole login", "unverified §10d"),
    ("oauth_string_errors", OFF, "token errors in the OAuth form: error is a string", "§2.2"),
    ("device_disabled", OFF, "device login is not enabled: 404", "§2.4"),
    ("device_pending_is_404", OFF, "pending polls answer 404 instead of 403", "§2.4"),
    # The other paths.
    ("models_unavailable", OFF, "the catalogue answers 5xx; option status", "§5"),
    ("client_version_hides_models", ON, "too old a client_version hides new models", "§5, U18"),
    ("usage_windows_null", OFF, "wham/usage without any window", "§3.9"),
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
