"""Numbered checks: passed, tip, issue."""
