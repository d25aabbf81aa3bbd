"""What runs beside the serving process: reference statistics, the local stack and the demo."""
