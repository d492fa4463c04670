"""Google's IAM for the stand-ins: roles, a project's policy, and who a token is of."""
