"""Elision: multimodal sentiment and emotion under missing and noisy data."""

__version__ = "0.2.0"
