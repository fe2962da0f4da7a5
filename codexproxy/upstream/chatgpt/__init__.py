"""HTTP to the ChatGPT Codex backend (UPSTREAM.md §3)."""
