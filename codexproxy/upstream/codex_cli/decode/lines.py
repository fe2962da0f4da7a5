"""Bytes as they come, cut into lines."""

from codexproxy.errors import UpstreamFailed

# The longest line the CLI may write, in bytes; it holds a whole message or a command's output.
LONGEST = 128 * 1024 * 1024


class Lines:
    """Collects bytes and gives back complete lines. Each byte is looked at once."""

    def __init__(self, longest: int = LONGEST) -> None:
        self._longest = longest
        self._pending: list[bytes] = []
        self._size = 0

    def feed(self, data: bytes) -> list[bytes]:
        """The lines that are complete now, without their line ends.

        Raises:
            UpstreamFailed: A line has no end.
        """
        head, newline, rest = data.partition(b"\n")
        if not newline:
            return self._keep(data)
        first = b"".join([*self._pending, head])
        *lines, last = rest.split(b"\n")
        self._pending, self._size = [], 0
        self._keep(last)
        return [first, *lines]

    def end(self) -> list[bytes]:
        """What is left at the end of the output: a last line without an end."""
        last = b"".join(self._pending)
        self._pending, self._size = [], 0
        return [last] if last else []

    def _keep(self, data: bytes) -> list[bytes]:
        self._size += len(data)
        if self._size > self._longest:
            raise UpstreamFailed("The Codex CLI wrote a line without an end.", code="codex_cli_failed")
        if data:
            self._pending.append(data)
        return []
