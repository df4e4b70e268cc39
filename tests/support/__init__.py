"""What tests stand on: real servers and simulated ones."""
