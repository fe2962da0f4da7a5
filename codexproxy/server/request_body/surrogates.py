"""Lone surrogates, the halves of emojis that some clients cut apart, replaced in the bytes of JSON."""

import re

_SUSPECT = re.compile(rb"\\u[dD][89a-fA-F]|\xed[\xa0-\xbf]")
_HIGH = rb"\\u[dD][89abAB][0-9a-fA-F]{2}"
_LOW = rb"\\u[dD][c-fC-F][0-9a-fA-F]{2}"
_LONE = re.compile(rb"%b(?!%b)|(?<!%b)%b" % (_HIGH, _LOW, _HIGH, _LOW))
_ENCODED = re.compile(rb"\xed[\xa0-\xbf]")


def mended(text: bytes) -> bytes | None:
    """JSON whose lone surrogates became U+FFFD; None when it has none that could be meant.

    Escaped (``\\ud83d``) or encoded by themselves, which UTF-8 forbids: orjson refuses both, and upstream would, too.
    """
    if not _SUSPECT.search(text) or b"\0" in text:
        return None
    if _ENCODED.search(text):
        try:
            units = text.decode("utf-8", "surrogatepass").encode("utf-16-le", "surrogatepass")
        except UnicodeDecodeError:
            return None
        text = units.decode("utf-16-le", "replace").encode()
    # An escaped backslash begins no escape; zeros, of which JSON has none, stand in for it meanwhile.
    return _LONE.sub(rb"\\ufffd", text.replace(rb"\\", b"\0\0")).replace(b"\0\0", rb"\\")
