"""What is stored of a job: manifest, state, summary, statistics."""
