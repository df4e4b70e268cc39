"""What happened: written with the change (the audit), told in the process, read by others."""
