"""Plotly figures from a page's numbers."""
