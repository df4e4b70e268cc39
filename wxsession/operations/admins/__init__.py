"""Admins of the console: named, with a role, and let in with two factors."""
