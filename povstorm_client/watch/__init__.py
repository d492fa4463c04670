"""Drafts of a scene's frames while it is edited: what a save changes, in the browser at once."""
