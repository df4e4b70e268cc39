"""Usernames and passwords."""
