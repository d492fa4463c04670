"""The commands of ``povstorm`` beside render, one file each; povstorm_client/cli.py lists them."""
