"""Turns the output of the Codex CLI into events of the Responses API. Pure."""
