"""An application without sessions: what Flask itself costs."""
