"""What stands out and what is coming: anomalies and forecasts."""
