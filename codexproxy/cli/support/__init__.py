"""What the commands share: settings, terminal, local server, checks."""
