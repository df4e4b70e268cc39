"""Applications whose every request carries a code of wx.login, and a token once there is one.

There are no routes. A request to a guarded view that has no live token is logged in by its code
on the spot, and the view's own answer takes the new token back. The names of the two headers are
settings, which the composition root puts in.
"""

from wxsession.web.dialects import Dialect

CODE_HEADER = Dialect(name="code-header")
