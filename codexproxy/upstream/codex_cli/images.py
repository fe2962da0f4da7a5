"""Images of a request: the CLI takes them as files."""

import base64
import binascii
import re
from dataclasses import dataclass

from codexproxy.errors import InvalidRequest

# What the model's backend takes, and the file ending the CLI recognises it by.
_TYPES = {"image/png": "png", "image/jpeg": "jpg", "image/jpg": "jpg", "image/gif": "gif", "image/webp": "webp"}

_DATA_URL = re.compile(r"data:(?P<type>[\w.+-]+/[\w.+-]+)(?:;[\w-]+=[\w.-]+)*;base64,", re.ASCII | re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Image:
    """One decoded image.

    Attributes:
        data: Its bytes.
        ending: Its file ending, without the dot.
    """

    data: bytes
    ending: str


def image_of(url: object, param: str) -> Image:
    """Decodes the ``image_url`` of an ``input_image`` part.

    Raises:
        InvalidRequest: It is no ``data:`` URL of a known type. Addresses are refused,
            since fetching them would let callers reach this server's network.
    """
    if not isinstance(url, str):
        raise InvalidRequest("`image_url` must be a string.", code="invalid_type", param=param)
    head = _DATA_URL.match(url)
    if head is None:
        raise InvalidRequest(
            "The Codex CLI takes images as `data:image/…;base64,…` only. Please send the image itself.",
            code="unsupported_content",
            param=param,
        )
    ending = _TYPES.get(head["type"].lower())
    if ending is None:
        raise InvalidRequest(
            f"Images of type {head['type']} are not supported. Use PNG, JPEG, GIF or WebP.",
            code="unsupported_content",
            param=param,
        )
    return Image(_decoded(url[head.end() :], param), ending)


def _decoded(text: str, param: str) -> bytes:
    try:
        data = base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError) as error:
        raise InvalidRequest("The image is not valid base64.", param=param) from error
    if not data:
        raise InvalidRequest("The image is empty.", param=param)
    return data
