"""A developer's own application, with our guard before its view."""
