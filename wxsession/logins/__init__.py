"""From a code, a password, or both to a session."""
