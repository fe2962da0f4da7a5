"""Who may ask, from where, how much, and where their turns go. No Flask."""
