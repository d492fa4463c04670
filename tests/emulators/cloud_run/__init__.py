"""A stand-in for the Cloud Run Admin API v2: jobs, executions and tasks that really run.

Google's own clients talk to it over REST and gRPC. It accepts what the API's discovery document
allows, and nothing else.
"""
