"""Programs that stand before a shell's own ones on PATH while docs/deploy.md is typed."""
