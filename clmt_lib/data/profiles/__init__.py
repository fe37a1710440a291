"""Profiles of molecules: what cells looked like, or which genes they read, after a treatment."""

from clmt_lib.data.profiles.measured import SPACES, Measurements, Profiles, beside, load

__all__ = ["beside", "SPACES", "Measurements", "Profiles", "load"]
