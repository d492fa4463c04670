"""What the report's page and the live page have in common: their style, and the player's script."""
