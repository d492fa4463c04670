"""docs/deploy.md as a person types it: block after block, on stand-ins for what is Google's."""
