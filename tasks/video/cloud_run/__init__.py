"""A video's segments encoded by tasks of Cloud Run jobs, while frames are rendered by others."""
