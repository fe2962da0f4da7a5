"""Content encodings of a request's body, gzip, deflate and zstd: unpacked in bounded steps."""

import zlib
from collections.abc import Callable, Generator, Iterator

import zstandard

from codexproxy.errors import BodyTooLarge, InvalidRequest, UnsupportedEncoding
from codexproxy.server.request_body.fairness import let_others_run

# RFC 8878 §3.1.1.1.2 recommends decoders to support 8 MiB; more is a lever for an attack.
_ZSTD_WINDOW = 8 * 1024 * 1024
# RFC 8878 §3.1.1: the head of a frame at its longest, and the frames that hold no content.
_ZSTD_HEAD = 18
_ZSTD_SKIPPABLE = range(0x184D2A50, 0x184D2A60)
_RUN_LENGTH = 1
_BITE = 16 * 1024
_UNPACKED_BITE = 64 * 1024
# So many pieces (members, frames, blocks) may hold next to nothing; beyond, they hold 1 KiB on average.
MOST_PIECES = 4096
PIECE = 1024
# So much may come of any few bytes; beyond, bytes unfold to this many each. Text seldom reaches a tenth of that.
ANY_SIZE = 8 * 1024 * 1024
MOST_RATIO = 256

Body = bytes | bytearray


def unpack(body: Body, encoding: str, limit: int) -> Body:
    """What was packed with one content encoding.

    Args:
        body: As it came.
        encoding: One of the names in ``Content-Encoding``.
        limit: Most bytes afterwards.

    Raises:
        BodyTooLarge: There is more.
        UnsupportedEncoding: The encoding is not known.
        InvalidRequest: It is damaged, cut off, or in too many pieces.
    """
    if encoding in ("", "identity"):
        return body
    unpacker = _UNPACKERS.get(encoding)
    if unpacker is None:
        known = ", ".join(sorted(_UNPACKERS))
        raise UnsupportedEncoding(f"The content-encoding `{encoding[:40]}` is not known here. Please use: {known}.")
    try:
        return _collected(unpacker(memoryview(body)), encoding, limit, max(ANY_SIZE, len(body) * MOST_RATIO))
    except (zlib.error, zstandard.ZstdError, EOFError) as error:
        raise InvalidRequest(f"The body is not valid {encoding} data.", code="invalid_encoding") from error


def _collected(pieces: Iterator[bytes], encoding: str, limit: int, plausible: int) -> bytearray:
    whole = bytearray()
    for count, piece in enumerate(pieces):
        whole += piece
        if len(whole) > limit:
            raise too_large(limit)
        if len(whole) > plausible:
            raise BodyTooLarge(
                f"The body expands to more than {MOST_RATIO} times its size. Please send it uncompressed."
            )
        if count > MOST_PIECES + len(whole) // PIECE:
            raise InvalidRequest(
                f"The body's {encoding} data consists of too many small pieces. Please compress it in one.",
                code="invalid_encoding",
            )
        let_others_run()
    return whole


def too_large(limit: int) -> BodyTooLarge:
    """The refusal of what is beyond the owner's limit."""
    return BodyTooLarge(f"The request body is larger than the {limit} bytes allowed (MAX_BODY_BYTES).")


def _unzip(body: memoryview) -> Iterator[bytes]:
    place = 0
    while place < len(body):
        # 32: gzip and zlib headers are both recognised (zlib manual, inflateInit2).
        member = zlib.decompressobj(wbits=47)
        while not member.eof:
            bite = body[place : place + _BITE]
            if not bite:
                raise EOFError
            yield member.decompress(bite, _UNPACKED_BITE)
            while member.unconsumed_tail:
                yield member.decompress(member.unconsumed_tail, _UNPACKED_BITE)
            place += len(bite) - len(member.unused_data)


def _unzstd(body: memoryview) -> Iterator[bytes]:
    place = 0
    unpacker = zstandard.ZstdDecompressor(max_window_size=_ZSTD_WINDOW)
    while place < len(body):
        if int.from_bytes(body[place : place + 4], "little") in _ZSTD_SKIPPABLE:
            yield b""
            place += 8 + int.from_bytes(_bytes_at(body, place + 4, 4), "little")
            _bytes_at(body, place, 0)
        else:
            place = yield from _frame(body, place, unpacker.decompressobj())


def _frame(body: memoryview, place: int, frame: "zstandard.ZstdDecompressionObj") -> Generator[bytes, None, int]:
    """Unpacks a frame block by block, since a block has at most 128 KiB and a few bytes may hold many.

    Returns:
        Where the frame ends.
    """
    head = body[place : place + _ZSTD_HEAD]
    size, has_checksum = zstandard.frame_header_size(head), zstandard.get_frame_parameters(head).has_checksum
    yield frame.decompress(_bytes_at(body, place, size))
    place, last = place + size, 0
    while not last:
        word = int.from_bytes(_bytes_at(body, place, 3), "little")
        last, kind, size = word & 1, word >> 1 & 3, word >> 3
        block = _bytes_at(body, place, 3 + (1 if kind == _RUN_LENGTH else size))
        yield frame.decompress(block)
        place += len(block)
    if has_checksum:
        yield frame.decompress(_bytes_at(body, place, 4))
        place += 4
    if not frame.eof:
        raise EOFError
    return place


def _bytes_at(body: memoryview, place: int, size: int) -> memoryview:
    if place + size > len(body):
        raise EOFError
    return body[place : place + size]


_UNPACKERS: dict[str, Callable[[memoryview], Iterator[bytes]]] = {
    "gzip": _unzip,
    "x-gzip": _unzip,
    "deflate": _unzip,
    "zstd": _unzstd,
}
