"""Property tests of this room: the same examples on every run, and no deadline on a busy machine."""

from hypothesis import settings

settings.register_profile("calm", deadline=None, derandomize=True)
settings.load_profile("calm")
