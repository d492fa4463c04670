"""What Prefect's pages show of a run beside its states."""
