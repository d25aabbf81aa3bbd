"""Baselines: the reference that live traffic is compared with."""
from __future__ import annotations
