"""How fast the service is beside others on the same machine; `make bench` runs it."""
