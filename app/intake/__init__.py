"""Taking in: the only way for a message to get into the queue."""
