"""What surrounds the service is not trusted: a stranger's folder, other users, samples that are copied unread."""
