"""Starts, pools and stops processes of the Codex CLI."""
