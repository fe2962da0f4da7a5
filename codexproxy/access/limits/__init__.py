"""Rate limits, token budgets and quota reserves of keys."""
