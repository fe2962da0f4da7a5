"""Plans what is sent upstream for a turn: model, instructions, parameters, cache key. Pure."""
