"""What only `make deep` runs: it takes minutes, and the flow's image."""
