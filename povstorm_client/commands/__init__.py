"""The commands of ``povstorm``, one file each; povstorm_client/command_line.py lists them."""
