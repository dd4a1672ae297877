"""Access tokens for modern sign-in."""
