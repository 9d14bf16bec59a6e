"""Nightforge: retrains, evaluates and compresses generative models, and refuses to ship a worse one."""

__version__ = "0.1.0"
