"""What a turn needs to be let in upstream, as backends see it."""

from dataclasses import dataclass, field
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Access:
    """The right to call upstream now.

    Attributes:
        token: The bearer token; never shown by ``repr``.
        account_id: Value of the ``chatgpt-account-id`` header (docs/reference/sign-in.md#token-claims).
    """

    token: str = field(repr=False)
    account_id: str


class CredentialSource(Protocol):
    """Where backends get their access from, once per upstream request."""

    def current(self) -> Access:
        """Access that upstream should accept now.

        Raises:
            NotLoggedIn: There is no login.
            LoginExpired: The login has ended and cannot be renewed.
            UpstreamFailed: It has to be renewed and the issuer cannot be reached.
        """

    def recover(self, rejected: str) -> Access:
        """Access to try instead of a token that upstream answered with 401.

        Args:
            rejected: The access token that was refused.

        Raises:
            NotLoggedIn: There is no login.
            LoginExpired: Nothing better can be had; a new login is needed.
            UpstreamFailed: The issuer cannot be reached.
        """
