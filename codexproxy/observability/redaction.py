"""Takes secrets out of texts that people will read.

Two nets: exact values known at set-up, and shapes that secrets have wherever
they come from (docs/reference/sign-in.md#tokens: JWTs begin with ``eyJ``, refresh tokens with
``rt_``, authorization codes with ``ac_``, keys of ours with ``cpx_``).
"""

import json
import re
from collections.abc import Iterable

REDACTED = "[redacted]"

# Counted repetitions and look-behinds keep every shape linear, whatever a client sends.
_WORD = r"[\w.-]{0,40}"
_NAME = rf"{_WORD}(?:token|authorization|api[_-]?key|secret|passw|passphrase|cookie|code_verifier|credential){_WORD}"
# Names that stand in prose or a form only for what they hold; "tokens: 12" is none of them.
_PLAIN_NAME = (
    r"(?:access|refresh|id|auth|bearer|session)[_-]?token"
    r"|passw(?:or)?d|passphrase|pwd|client[_-]?secret|secret|verifier"
)

# Pairs of shape and replacement, applied in this order.
_SHAPES: tuple[tuple[re.Pattern[str], str], ...] = (
    # JSON: "refresh_token": "…", also when the text was cut within the value.
    (re.compile(rf'(?is)"({_NAME})"\s*:\s*"(?:[^"\\]|\\.)*(?:"|\\?\Z)'), rf'"\1": "{REDACTED}"'),
    # JSON within a JSON string: \"refresh_token\": \"…\"
    (re.compile(rf'(?i)(?<!\\)\\+"({_NAME})\\+"\s*:\s*\\+"[^"]*(?:"|\Z)'), rf'\\"\1\\": \\"{REDACTED}\\"'),
    # Python literals.
    (re.compile(rf"(?i)'({_NAME})'\s*:\s*'[^']*(?:'|\Z)"), rf"'\1': '{REDACTED}'"),
    # Headers: Cookie: a=b; c=d and x-api-key: …
    (re.compile(r"(?i)\b(cookie)\s*:\s*[^\r\n]+"), rf"\1: {REDACTED}"),
    # A scheme with parameters, such as Digest (RFC 9110 §11.4), is a secret up to the line's end.
    (re.compile(r"(?i)\b(authorization)\s*[:=]\s*(?!bearer\b|basic\b)[a-z][\w-]{0,20} +[^\r\n]+"), rf"\1: {REDACTED}"),
    (
        re.compile(r"(?i)\b(authorization|api[-_]key)\b\s*[:=]\s*(?:bearer\s+|basic\s+)?[^\s,;&\"']+"),
        rf"\1: {REDACTED}",
    ),
    # password: hunter2, pwd=hunter2
    (re.compile(rf"(?i)\b({_PLAIN_NAME})\s*[:=]\s*(?:\"[^\"\r\n]*\"?|[^\s,;&\"'}}]+)"), rf"\1={REDACTED}"),
    # Query strings and form bodies: access_token=…&code_verifier=…
    (re.compile(r"(?i)(token|secret|password|verifier)=[^\s&\"']+"), rf"\1={REDACTED}"),
    (re.compile(r"(?i)\b(bearer|basic)\s+[\w.~+/=-]{6,}"), rf"\1 {REDACTED}"),
    (re.compile(r"\beyJ[\w-]{6,}(?:\.[\w-]*)*"), REDACTED),
    (re.compile(r"\b(?:rt_|ac_|sk-|cpx_)[\w.-]{6,}"), REDACTED),
    # https://user:password@host, redis://:password@host, https://token@host
    (re.compile(r"(?<=://)[^/?#\s@\"']{1,400}@"), f"{REDACTED}@"),
)

# A text without any of these words holds none of the shapes; most texts do not.
_SIGNS = re.compile(
    r"(?i)token|authorization|api[_-]?key|secret|passw|passphrase|pwd|cookie|verifier|credential|bearer|basic|eyJ|rt_|ac_|sk-"
    r"|cpx_|://"
)

# Shorter "secrets" would blot out ordinary words.
_SHORTEST = 4


class Redactor:
    """Replaces secrets in texts by ``[redacted]``.

    Args:
        secrets: Exact values to hide wherever they appear, such as ``PROXY_API_KEY``.
    """

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        spellings = {form for secret in secrets if len(secret) >= _SHORTEST for form in _spellings(secret)}
        longest_first = sorted(spellings, key=len, reverse=True)
        self._known = re.compile("|".join(map(re.escape, longest_first))) if longest_first else None

    def __call__(self, text: str) -> str:
        """The text without secrets."""
        if self._known:
            text = self._known.sub(REDACTED, text)
        if _SIGNS.search(text) is None:
            return text
        for shape, replacement in _SHAPES:
            text = shape.sub(replacement, text)
        return text

    def __repr__(self) -> str:
        return "Redactor()"


def _spellings(secret: str) -> set[str]:
    """A secret as it is, and as JSON escapes it."""
    return {secret, json.dumps(secret)[1:-1]}
