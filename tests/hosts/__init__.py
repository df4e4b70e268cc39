"""Applications of developers who use wxsession as an extension.

Each is copied to a folder of its own and run with an installed wheel: what it imports has to be
there, and nothing of this checkout is.
"""
