"""The parts of a job's report, report.html; tasks/steps/report_step.py has it made."""
