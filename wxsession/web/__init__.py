"""Everything that knows Flask: our own API, the dialects, and the guard of other applications."""
