"""Adaptation of fitted models to a few labelled tiles of a new place."""
