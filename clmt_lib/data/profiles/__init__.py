"""Profiles of molecules: what cells looked like, or which genes they read, after a treatment."""

from clmt_lib.data.profiles.measured import SPACES, Measurements, Profiles, load

__all__ = ["SPACES", "Measurements", "Profiles", "load"]
