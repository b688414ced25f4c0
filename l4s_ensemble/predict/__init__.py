"""From saved models to masks, scores and a submission."""
