"""Programs that `make` or a maintainer runs."""
