"""What the tasks do, without Prefect: files laid out, a frame tried, and what its job ends with.

The tasks call it, and where Prefect is told later flows/plain_steps.py and frames/plain_runs.py.
"""
