"""Turns settings into objects and lets a running service go on with other ones: the only place where the rooms meet."""
