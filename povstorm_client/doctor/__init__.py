"""What `povstorm doctor` looks at, each with its remedy."""
