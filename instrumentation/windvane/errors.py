"""The errors windvane raises, all of them at declaration time.

```
WindvaneError
├── DeclarationError (also a ValueError)  a model, owner, objective or option that cannot be used
├── BaselineError (also a ValueError)     a baseline that cannot be built, read or used
├── ProfileError (also a ValueError)      a profile that cannot be read, written or merged
└── StackError (also a RuntimeError)      a part of the local stack that cannot be found, built or started
```

A call of a decorated function never raises any of these.
"""

from __future__ import annotations

__all__ = ["BaselineError", "DeclarationError", "ProfileError", "StackError", "WindvaneError"]


class WindvaneError(Exception):
    """Any error of windvane's own."""


class DeclarationError(WindvaneError, ValueError):
    """A declaration that cannot be used; the message names the field and the mend."""


class BaselineError(WindvaneError, ValueError):
    """A baseline that cannot be built, read or used; the message names the file or field and the mend."""


class ProfileError(WindvaneError, ValueError):
    """A profile that cannot be read, written or merged; the message says what is wrong, never a value."""


class StackError(WindvaneError, RuntimeError):
    """A part of the local stack that cannot be found, built or started; the message says what to do."""
