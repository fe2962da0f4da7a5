"""What a run of the Codex CLI may read, write and reach."""
