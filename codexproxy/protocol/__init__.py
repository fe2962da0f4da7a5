"""The pure middle: turns, events and streams. Standard library and orjson only, no I/O."""
