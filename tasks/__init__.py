"""Prefect tasks, one file each, and the renderers that they drive."""
