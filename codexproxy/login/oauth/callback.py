"""What comes back from the authorize page, by redirect or by paste (docs/reference/sign-in.md#the-callback-server)."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self
from urllib.parse import parse_qs, urlsplit

from codexproxy.errors import InvalidRequest

_MARKS = "code=", "state=", "error="
_WRAPPERS = "\"'`<>"


@dataclass(frozen=True, slots=True)
class Callback:
    """The parameters of one redirect; empty where they were missing.

    Attributes:
        code: The authorization code.
        state: Names the attempt; None when only a code was pasted.
        error: ``access_denied``, …
        description: What the issuer adds to the error.
    """

    code: str = field(default="", repr=False)
    state: str | None = field(default="", repr=False)
    error: str = ""
    description: str = ""

    @classmethod
    def of(cls, parameters: Mapping[str, str]) -> Self:
        """Reads the parameters of a redirect that arrived here."""
        return cls(
            code=parameters.get("code", ""),
            state=parameters.get("state", ""),
            error=parameters.get("error", ""),
            description=parameters.get("error_description", ""),
        )


def parse_pasted(text: str) -> Callback:
    """Reads what a person pasted: the whole redirected address, its query, or only the code.

    Line breaks that a terminal put in are taken out.

    Raises:
        InvalidRequest: There is neither a code nor an error in it.
    """
    pasted = "".join(text.split()).strip(_WRAPPERS)
    if not pasted:
        raise InvalidRequest("Nothing was pasted. Paste the address your browser ended at, or the code in it.")
    if any(mark in pasted for mark in _MARKS):
        return _from_address(pasted)
    if "/" in pasted or "?" in pasted:
        raise InvalidRequest(
            "There is no code in that address. Paste the address your browser ended at after you signed in; "
            "it holds `code=`."
        )
    return Callback(code=pasted, state=None)


def _from_address(pasted: str) -> Callback:
    parts = urlsplit(pasted)
    query = parts.query or parts.fragment or pasted
    values = parse_qs(query.lstrip("?#&"), keep_blank_values=True)
    parameters = {name: found[0] for name, found in values.items()}
    callback = Callback.of(parameters)
    if not callback.code and not callback.error:
        raise InvalidRequest("There is no code in what was pasted. It should hold `code=`.")
    return callback if "state" in parameters else Callback(callback.code, None, callback.error, callback.description)
