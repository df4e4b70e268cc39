"""Logins: a code, a password, or both become a session."""
