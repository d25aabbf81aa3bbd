"""Profiles of data sets, in the format of whylogs; they need the extra `profiles`.

whylogs itself is not needed, neither to write profiles nor to read them.
"""

from windvane.errors import ProfileError
from windvane.profiles.column import ColumnProfile
from windvane.profiles.profile import DatasetProfile

__all__ = ["ColumnProfile", "DatasetProfile", "ProfileError"]
