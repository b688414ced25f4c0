"""Counts, scores of counts, histograms, intervals and calibration."""
