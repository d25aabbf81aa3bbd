"""OpenTelemetry-native observability for machine-learning models."""
