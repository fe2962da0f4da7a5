"""HTTP to the ChatGPT Codex backend (docs/reference/requests.md)."""
