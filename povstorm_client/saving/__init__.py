"""Bringing a job's results into folders of the user's."""
