"""The HTTP door: /v1/messages and what belongs to it."""
