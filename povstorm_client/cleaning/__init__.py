"""Deleting jobs, and what no job refers to any more."""
