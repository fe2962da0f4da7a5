"""Recorded traffic and published schemas, as test data; README.md says where they come from."""

from pathlib import Path

RECORDINGS = Path(__file__).parent / "recordings"
SCHEMAS = Path(__file__).parent / "schemas"
