"""How the dying server is called."""

from typing import Final

DIE_AT: Final = "X-Die-At"
"""The request header: the SQL boundary at which the process kills itself."""

PURGE: Final = "/test/purge"
"""The path at which a process of the dying server runs the purge."""
