"""Remote images of a turn put into its body, within bounds of number, bytes and time."""

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from codexproxy.errors import BodyTooLarge, InvalidRequest
from codexproxy.protocol.request import Turn
from codexproxy.upstream.image_fetch import ImageFetcher

# Pictures that are fetched for one turn, and the seconds for all of them.
MOST_PICTURES = 50
TURN_SECONDS = 60.0


class Inliner:
    """Puts remote images of a turn into its body.

    Args:
        fetcher: Gets one image.
        most_bytes: Most bytes that all images of one turn may add, each counted as often as it is named.
        most: Most images that are fetched for one turn.
        seconds: Seconds for all images of one turn.
        clock: Monotonic seconds.
    """

    def __init__(
        self,
        fetcher: ImageFetcher,
        most_bytes: int,
        *,
        most: int = MOST_PICTURES,
        seconds: float = TURN_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._fetcher = fetcher
        self._most_bytes = most_bytes
        self._most = most
        self._seconds = seconds
        self._clock = clock

    def __call__(self, turn: Turn) -> Turn:
        """The turn whose images all are data URLs.

        Raises:
            InvalidRequest: One of them cannot or must not be fetched, or is no image.
            BodyTooLarge: They are more than may be sent.
        """
        fetched: dict[str, str] = {}
        left, end = self._most_bytes, self._clock() + self._seconds

        def fetch(url: str, path: str) -> str:
            nonlocal left
            if url not in fetched:
                if len(fetched) == self._most:
                    raise InvalidRequest(
                        f"The request names more than {self._most} images by URL. Send some as data URLs instead.",
                        code="unsupported_content",
                    )
                # Where the image stands in the caller's own words is not known any more.
                fetched[url] = self._fetcher.data_url(url, within=end - self._clock())
            # An image that is fetched once is sent as often as it is named.
            left -= len(fetched[url])
            if left < 0:
                raise BodyTooLarge(f"The images are larger than {self._most_bytes} bytes together.")
            return fetched[url]

        body = inlined(turn.body, fetch)
        return replace(turn, body=body) if fetched else turn


def inlined(body: Mapping[str, Any], fetch: Callable[[str, str], str]) -> dict[str, Any]:
    """A Responses body whose remote images were fetched.

    Args:
        body: The body; it is not changed.
        fetch: Gets a data URL for a URL and the path of its field.
    """
    items = body.get("input")
    if not isinstance(items, list):
        return dict(body)
    return {**body, "input": [_inlined_item(item, f"input[{n}]", fetch) for n, item in enumerate(items)]}


def _inlined_item(item: Any, path: str, fetch: Callable[[str, str], str]) -> Any:
    for field in ("content", "output"):
        parts = item.get(field) if isinstance(item, dict) else None
        if isinstance(parts, list):
            item = {**item, field: [_inlined_part(part, f"{path}.{field}[{n}]", fetch) for n, part in enumerate(parts)]}
    return item


def _inlined_part(part: Any, path: str, fetch: Callable[[str, str], str]) -> Any:
    url = part.get("image_url") if isinstance(part, dict) and part.get("type") == "input_image" else None
    if not isinstance(url, str) or not url.lower().startswith(("http://", "https://")):
        return part
    return {**part, "image_url": fetch(url, f"{path}.image_url")}
