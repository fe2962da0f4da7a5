"""Makes a conversation's history acceptable upstream: sanitised, paired, expanded. Pure."""
