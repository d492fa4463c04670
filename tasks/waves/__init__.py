"""Waves on Cloud Run, of a job's frames or its video's segments: what one is, its execution."""
