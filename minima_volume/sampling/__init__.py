"""The Gaussian local volume by sampling instead of rays: tethered HMC and an elliptical slice path."""
