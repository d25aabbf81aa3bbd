"""OpenTelemetry-native observability for machine-learning models.

Declare a `Model`, put its `predict` on the function that predicts, and call `configure` where the
service does not set up OpenTelemetry itself.
"""

from windvane._runtime import flush
from windvane._version import __version__
from windvane.baseline import Baseline
from windvane.configuration import configure
from windvane.declaration import Objectives, Owner
from windvane.errors import BaselineError, DeclarationError, StackError, TokenError, WindvaneError
from windvane.events import PredictionEvents, ProfileEvents
from windvane.model import Model
from windvane.outcomes import Outcomes
from windvane.prediction import Prediction
from windvane.probe import Probe, ProbeRun

__all__ = [
    "Baseline",
    "BaselineError",
    "DeclarationError",
    "Model",
    "Objectives",
    "Outcomes",
    "Owner",
    "Prediction",
    "PredictionEvents",
    "Probe",
    "ProbeRun",
    "ProfileEvents",
    "StackError",
    "TokenError",
    "WindvaneError",
    "__version__",
    "configure",
    "flush",
]
