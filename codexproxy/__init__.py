"""codexproxy: any OpenAI client, your own ChatGPT/Codex subscription."""

__version__ = "0.1.0"
