"""Which texts are official instructions.

Compared without outer white space and with every line end as LF, because
clients and stores change those; what is sent keeps its exact bytes.
"""

from collections.abc import Iterable
from hashlib import sha256

# No known text is a tenth of this; longer ones are not worth hashing.
MAX_LENGTH = 1_000_000


def fingerprint(text: str) -> str:
    """What two texts share when they differ only in line ends and outer white space."""
    normal = text.replace("\r\n", "\n").replace("\r", "\n").strip()
    return sha256(normal.encode("utf-8", "surrogatepass")).hexdigest()


class OfficialTexts:
    """The official instructions known at this moment.

    Args:
        texts: The texts themselves.
        stand_ins: Whether they are only ours, because none were synchronised yet.
    """

    def __init__(self, texts: Iterable[str] = (), *, stand_ins: bool = False) -> None:
        self._known = {fingerprint(text) for text in texts if text.strip()}
        self.stand_ins = stand_ins

    def __contains__(self, text: object) -> bool:
        return (
            isinstance(text, str)
            and bool(self._known)
            and len(text) <= MAX_LENGTH
            and fingerprint(text) in self._known
        )

    def __len__(self) -> int:
        return len(self._known)
