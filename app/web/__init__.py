"""What the doors share: guard, keys, problems, health and metrics endpoints."""
