"""How a mortal service is spoken to."""

from typing import Final

DIE_AT: Final = "X-Die-At"
"""The request header: at which SQL boundary the process kills itself."""

PURGE: Final = "/mortal/purge"
"""Where a mortal process runs the purge."""
