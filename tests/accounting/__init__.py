"""What a turn costs is what upstream was asked and said, however the turn ends."""
