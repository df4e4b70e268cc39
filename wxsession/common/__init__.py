"""What all rooms use, and what uses none: the clock, sealing, limits, logs, numbers, Chinese."""
