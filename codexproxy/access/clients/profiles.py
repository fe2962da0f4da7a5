"""Clients we know, as a table: by which marks each is recognised."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Profile:
    """One client.

    Attributes:
        name: As in ``allowedClients`` and in logs.
        user_agents: First words of its ``User-Agent`` or ``originator``, in lower case, up to ``/`` or a blank.
        headers: Names of headers that only it sends.
        titles: Values of ``X-Title`` or beginnings of ``HTTP-Referer``, in lower case.
        phrases: Words near the beginning of its system text.
    """

    name: str
    user_agents: tuple[str, ...] = ()
    headers: tuple[str, ...] = ()
    titles: tuple[str, ...] = ()
    phrases: tuple[str, ...] = ()


CODEX_CLI = "codex-cli"
CLAUDE_CLI = "claude-cli"

# The first row that has any mark of the request wins; editors and front ends
# stand before the libraries they are built with.
PROFILES: tuple[Profile, ...] = (
    Profile(
        CODEX_CLI,
        user_agents=(
            "codex_cli_rs",
            "codex_exec",
            "codex-tui",
            "codex_vscode",
            "codex_app",
            "codex_sdk_ts",
            "codex desktop",
        ),
    ),
    Profile(CLAUDE_CLI, user_agents=("claude-cli", "claude-code"), phrases=("You are Claude Code,",)),
    Profile(
        "cursor",
        user_agents=("cursor",),
        headers=("x-cursor-client-version",),
        titles=("cursor", "https://cursor.com"),
        phrases=("You operate in Cursor", "running in Cursor", "Cursor IDE"),
    ),
    Profile(
        "roo-code",
        user_agents=("roocode", "roo-code"),
        titles=("roo code", "https://github.com/roovetgit"),
        phrases=("You are Roo,",),
    ),
    Profile(
        "cline",
        user_agents=("cline",),
        headers=("x-cline-version",),
        titles=("cline", "https://cline.bot"),
        phrases=("You are Cline",),
    ),
    Profile(
        "open-webui",
        user_agents=("openwebui", "open-webui"),
        headers=("x-openwebui-chat-id", "x-openwebui-user-id", "x-openwebui-user-name"),
        titles=("open webui", "https://openwebui.com"),
    ),
    Profile("zed", user_agents=("zed",)),
    Profile(
        "vscode",
        user_agents=("githubcopilotchat", "vscode", "visual-studio-code"),
        headers=("x-vscode-user-agent-library-version", "editor-plugin-version"),
    ),
    Profile("n8n", user_agents=("n8n",), headers=("x-n8n-workflow-id",), titles=("n8n", "https://n8n.io")),
    Profile("continue", user_agents=("continue",), headers=("x-continue-unique-id",)),
    Profile("opencode", user_agents=("opencode",), titles=("opencode", "https://opencode.ai")),
    Profile("aider", user_agents=("aider",), titles=("aider", "https://aider.chat")),
    Profile("xcode", user_agents=("xcode",)),
    Profile("raycast", user_agents=("raycast",)),
    Profile("jetbrains", user_agents=("jetbrains", "intellij")),
    Profile("litellm", user_agents=("litellm",), titles=("litellm", "https://litellm.ai")),
    Profile("vercel-ai", user_agents=("ai-sdk", "ai")),
    Profile("openai-sdk", user_agents=("openai", "asyncopenai", "agents")),
    Profile("curl", user_agents=("curl",)),
)
UNKNOWN = Profile("unknown")

BY_NAME: dict[str, Profile] = {profile.name: profile for profile in PROFILES}
