"""What a trace says: metrics, shares of time and plots."""
