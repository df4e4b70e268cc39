"""Users: their identities, phone numbers and merging."""
