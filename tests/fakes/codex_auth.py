"""``auth.json`` as the Codex CLI 0.169.0 writes it (docs/reference/sign-in.md#the-file-authjson)."""

import json
from pathlib import Path
from typing import Any


def write_auth_json(path: Path, tokens: dict[str, Any]) -> dict[str, Any]:
    """Writes the file for a login of the simulator; returns its content."""
    document = {
        "auth_mode": "chatgpt",
        "OPENAI_API_KEY": None,
        "tokens": {
            "id_token": tokens["id_token"],
            "access_token": tokens["access_token"],
            "refresh_token": tokens["refresh_token"],
            "oauth_provenance": {"issuer": "https://auth.openai.com", "client_id": "app_EMoamEEZ73f0CkXaXp7hrann"},
            "login_owner_id": "FeuARhi4E593",
            "account_id": tokens["account_id"],
        },
        "last_refresh": "2026-11-21T03:23:23.225364706Z",
        "something_new": {"kept": True},
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch(0o600)
    path.write_text(json.dumps(document, indent=2))
    return document
