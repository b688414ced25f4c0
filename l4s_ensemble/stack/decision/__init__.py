"""What is called landslide: calibration, threshold, whether it follows a scene, clean-up."""
