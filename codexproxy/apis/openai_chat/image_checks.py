"""Checks on images and files before they travel: a bad one is refused here with its path.

See docs/reference/clients.md#remote-images.
"""

import re
from base64 import b64decode
from binascii import Error as Base64Error

from codexproxy.apis.validation_errors import bad_value, unsupported

DETAILS = ("auto", "low", "high", "original")

_DATA_URL = re.compile(r"data:([\w.+-]+/[\w.+-]+)?((?:;[\w.+-]+=[^;,]*)*)(;base64)?,", re.IGNORECASE)
_MAGIC = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"GIF87a", b"GIF89a", b"RIFF")


def check_image_url(url: str, path: str) -> str:
    """The URL of an image that upstream can take.

    Raises:
        InvalidRequest: It is neither http(s) nor a base64 data URL of a PNG, JPEG, GIF or WebP image.
    """
    if url.startswith(("https://", "http://")):
        return url
    head = _DATA_URL.match(url[:256])
    if head is None or not head.group(3):
        raise bad_value(path, "The image URL must be an http(s) URL or a base64 data URL like data:image/png;base64,….")
    kind = (head.group(1) or "").lower()
    if not kind.startswith("image/"):
        raise unsupported(path, f"The data URL holds {kind or 'no type'}, not an image. Use PNG, JPEG, GIF or WebP.")
    _check_bytes(url[head.end() : head.end() + 64], path)
    return url


def _check_bytes(encoded: str, path: str) -> None:
    try:
        start = b64decode(encoded[: len(encoded) // 4 * 4], validate=True)
    except (Base64Error, ValueError):
        raise bad_value(path, "The image's data is not valid base64.") from None
    if not start:
        raise bad_value(path, "The image is empty.")
    if not start.startswith(_MAGIC):
        raise unsupported(path, "The image's data is none of PNG, JPEG, GIF and WebP. Please convert it.")


def as_data_url(data: str, media_type: str) -> str:
    """Base64 data as a data URL; a URL stays what it is."""
    return data if data.startswith(("data:", "https://", "http://")) else f"data:{media_type};base64,{data}"
