"""What is claimed of wxsession and no single request can show, tried until chance has its say.

Each invariant is a function of a database and a size: small in every test run, large in the long
one, `python -m tests.proof`, which writes the figures to `docs/proof.md`.
"""
