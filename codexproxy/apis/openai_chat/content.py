"""Message content: strings and parts of Chat Completions into parts of Responses input items.

PartTracker in the words of the Responses API are taken too: some clients mix both
within one request (docs/reference/clients.md#cursors-mixed-forms).
"""

import re
from base64 import b64decode
from binascii import Error as Base64Error
from collections.abc import Callable
from typing import Any

from codexproxy.apis.validation_errors import bad_value, missing, unsupported, wrong_type, wrong_value
from codexproxy.protocol.pacing import Pause, no_pause, paced

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
        raise unsupported(path, "The image is not a PNG, JPEG, GIF or WebP file. Please convert it.")


def as_data_url(data: str, media_type: str) -> str:
    """Base64 data as a data URL; a URL stays what it is."""
    return data if data.startswith(("data:", "https://", "http://")) else f"data:{media_type};base64,{data}"


Part = dict[str, Any]
Converter = Callable[[Part, str], Part]


def input_parts(content: Any, path: str, pause: Pause = no_pause) -> list[Part]:
    """The parts of a user's, developer's or tool's message.

    Raises:
        InvalidRequest: A part is malformed, or of a kind that nobody can take.
    """
    return _parts(content, path, _INPUT, "input_text", pause)


def output_parts(content: Any, path: str, pause: Pause = no_pause) -> list[Part]:
    """The parts of an assistant's message.

    Raises:
        InvalidRequest: A part is malformed, or of a kind that nobody can take.
    """
    return _parts(content, path, _OUTPUT, "output_text", pause)


def text_of(parts: list[Part], pause: Pause = no_pause) -> str | None:
    """The text of a message whose words become instructions; None where there is more than text."""
    texts = [part.get("text") for part in paced(parts, pause)]
    return "\n".join(text for text in texts if text is not None) if None not in texts else None


def _parts(content: Any, path: str, table: dict[str, Converter], text_type: str, pause: Pause) -> list[Part]:
    if isinstance(content, str):
        return [{"type": text_type, "text": content}] if content else []
    if content is None:
        return []
    if isinstance(content, dict):
        # A single part without its list.
        content = [content]
    if not isinstance(content, list):
        raise wrong_type(path, "a string or an array of content parts", content)
    return [_part(part, f"{path}[{position}]", table, text_type) for position, part in enumerate(paced(content, pause))]


def _part(part: Any, path: str, table: dict[str, Converter], text_type: str) -> Part:
    if isinstance(part, str):
        return {"type": text_type, "text": part}
    if not isinstance(part, dict):
        raise wrong_type(path, "an object", part)
    kind = part.get("type")
    if kind is None:
        raise missing(f"{path}.type")
    converter = table.get(kind) if isinstance(kind, str) else None
    if converter is None:
        raise _refused(kind, path, table)
    return converter(part, path)


def _refused(kind: Any, path: str, table: dict[str, Converter]) -> Exception:
    if not isinstance(kind, str):
        return wrong_type(f"{path}.type", "a string", kind)
    if kind in _UNSUPPORTED:
        return unsupported(path, _UNSUPPORTED[kind])
    return wrong_value(f"{path}.type", kind, [name for name in table if name in _PUBLIC])


def _input_text(part: Part, path: str) -> Part:
    return {"type": "input_text", "text": _text(part, path)}


def _output_text(part: Part, path: str) -> Part:
    return {"type": "output_text", "text": _text(part, path)}


def _refusal(part: Part, path: str) -> Part:
    return {"type": "refusal", "refusal": _text(part, path, "refusal")}


def _text(part: Part, path: str, field: str = "text") -> str:
    value = part.get(field)
    if value is None:
        raise missing(f"{path}.{field}")
    if not isinstance(value, str):
        raise wrong_type(f"{path}.{field}", "a string", value)
    return value


def _image(part: Part, path: str) -> Part:
    holder, path = part.get("image_url"), f"{path}.image_url"
    if holder is None and isinstance(part.get("file_id"), str):
        return {"type": "input_image", "file_id": part["file_id"]}
    if holder is None:
        raise missing(path)
    # Nested in chat's words, flat in those of the Responses API.
    url = holder.get("url") if isinstance(holder, dict) else holder
    if not isinstance(url, str):
        raise wrong_type(path, "an object with a url", holder)
    detail = holder.get("detail") if isinstance(holder, dict) else part.get("detail")
    image: Part = {"type": "input_image", "image_url": check_image_url(url, path)}
    if detail is None:
        return image
    if detail not in DETAILS:
        raise wrong_value(f"{path}.detail", detail, DETAILS)
    return {**image, "detail": detail}


def _file(part: Part, path: str) -> Part:
    holder = part.get("file", part)
    path = f"{path}.file" if "file" in part else path
    if not isinstance(holder, dict):
        raise wrong_type(path, "an object", holder)
    known = {key: holder[key] for key in ("file_id", "file_data", "file_url", "filename") if holder.get(key)}
    for key, value in known.items():
        if not isinstance(value, str):
            raise wrong_type(f"{path}.{key}", "a string", value)
    if not known.keys() & {"file_id", "file_data", "file_url"}:
        raise missing(f"{path}.file_data")
    if "file_data" in known:
        known["file_data"] = as_data_url(known["file_data"], "application/pdf")
        known.setdefault("filename", "file.pdf")
    return {"type": "input_file", **known}


_AUDIO = "The backend does not accept audio. Please send a transcript as text."
_VIDEO = "The backend does not accept video. Please send single frames as images."
_UNSUPPORTED = {"input_audio": _AUDIO, "audio": _AUDIO, "video_url": _VIDEO, "input_video": _VIDEO, "video": _VIDEO}
_PUBLIC = frozenset({"text", "image_url", "file", "refusal"})

# PartTracker in the words of the other side keep them here: the repair of the conversation
# (compat/history/sanitize.py) puts them right, and reports it.
_ANY: dict[str, Converter] = {
    "image_url": _image,
    "input_image": _image,
    "file": _file,
    "input_file": _file,
    "input_text": _input_text,
    "output_text": _output_text,
    "refusal": _refusal,
}
_INPUT: dict[str, Converter] = {"text": _input_text, **_ANY}
_OUTPUT: dict[str, Converter] = {"text": _output_text, **_ANY}
