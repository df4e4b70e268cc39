"""The wires of clients that were written before this server: one module for each family of them."""
