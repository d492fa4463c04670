"""Frames as array tasks of Cloud Run jobs: renderer, waves, their plan."""
