"""The errors windvane raises, all of them at declaration time.

```
WindvaneError
├── DeclarationError (also a ValueError)  a model, owner, objective or option that cannot be used
├── BaselineError (also a ValueError)     a baseline that cannot be built, read or used
├── ProfileError (also a ValueError)      a profile that cannot be read, written or merged
├── TokenError (also a ValueError)        a token that cannot be read, or that nobody here has signed
├── OutcomeStoreError (also a RuntimeError) a store of outcomes that cannot be opened or does not answer
└── StackError (also a RuntimeError)      a part of the local stack that cannot be found, built or started
```

A call of a decorated function never raises any of these.
"""

from __future__ import annotations

__all__ = [
    "BaselineError",
    "DeclarationError",
    "OutcomeStoreError",
    "ProfileError",
    "StackError",
    "TokenError",
    "WindvaneError",
]


class WindvaneError(Exception):
    """Any error of windvane's own."""


class DeclarationError(WindvaneError, ValueError):
    """A declaration that cannot be used; the message names the field and the mend."""


class BaselineError(WindvaneError, ValueError):
    """A baseline that cannot be built, read or used; the message names the file or field and the mend."""


class ProfileError(WindvaneError, ValueError):
    """A profile that cannot be read, written or merged; the message says what is wrong, never a value."""


class TokenError(WindvaneError, ValueError):
    """A token that cannot be read, or an outcome that cannot be; the message says what is wrong, never a value.

    Attributes:
        reason: the value of `windvane.outcome.refusal`.
    """

    def __init__(self, message: str, reason: str) -> None:
        """Say why, in words and as the value of the attribute."""
        super().__init__(message)
        self.reason = reason


class OutcomeStoreError(WindvaneError, RuntimeError):
    """A store of outcomes that cannot be opened, or that fails; the message says why, never a value or password."""


class StackError(WindvaneError, RuntimeError):
    """A part of the local stack that cannot be found, built or started; the message says what to do."""
