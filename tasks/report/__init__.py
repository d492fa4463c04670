"""The parts of a job's report, report.html; tasks/make_report.py puts them together."""
