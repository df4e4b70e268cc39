"""The thirty lines that everybody writes first: a code becomes a random token in a table."""
