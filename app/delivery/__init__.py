"""Sending: picks what is due, under the pace, and settles what the next hop said."""
