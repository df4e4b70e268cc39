"""Sessions: issued, checked, refreshed, ended, and described to back ends."""
