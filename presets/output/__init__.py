"""What becomes of a model's raw text before it is shown: length, thinking, trimming, remarks. Pure."""
