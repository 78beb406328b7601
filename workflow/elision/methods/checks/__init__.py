"""Checks that no paper makes: one file, one check, for every method and every trained run.

The tests of the methods are these checks, and so are ``elision check`` and the table of checks of the report.
"""

from elision.methods.checks._check import Check, Finding, Outcome, all_checks, check
from elision.methods.checks._subject import Subject

__all__ = ["Check", "Finding", "Outcome", "Subject", "all_checks", "check"]
