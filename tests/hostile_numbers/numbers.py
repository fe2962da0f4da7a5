"""What may stand where a number belongs."""

import math
from typing import Any

# As JSON is written on the wire, where Python's own parser would not get it back.
WIRE = {
    "zero": "0",
    "minus one": "-1",
    "a fraction": "0.5",
    "2^53": str(2**53),
    "2^63": str(2**63),
    "2^64-1": str(2**64 - 1),
    "minus 2^63": str(-(2**63)),
    "no float": "1" + "0" * 400,
    "no float below zero": "-1" + "0" * 400,
    "1e308": "1e308",
    "-1e308": "-1e308",
    "1e999": "1e999",
    "NaN": "NaN",
    "Infinity": "Infinity",
    "a text": '"many"',
    "a number in a text": '"18446744073709551615"',
    "true": "true",
    "null": "null",
    "an object": '{"count":1}',
}

VALUES: dict[str, Any] = {
    "zero": 0,
    "minus one": -1,
    "a fraction": 0.5,
    "2^53": 2**53,
    "2^63": 2**63,
    "2^64-1": 2**64 - 1,
    "no float": 10**400,
    "no float below zero": -(10**400),
    "1e308": 1e308,
    "NaN": math.nan,
    "Infinity": math.inf,
    "minus infinity": -math.inf,
    "a text": "many",
    "a number in a text": "18446744073709551615",
    "NaN in a text": "nan",
    "infinity in a text": "inf",
    "a text that is no float": "9" * 400,
    "true": True,
    "nothing": None,
    "an object": {},
}
