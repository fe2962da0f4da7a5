"""codexproxy: any OpenAI client, your own ChatGPT/Codex subscription."""

__version__ = "0.2.0"
