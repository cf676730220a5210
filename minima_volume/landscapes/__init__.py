"""Loss landscapes of any model: lines, planes, paths and trajectories, with their pictures and exports."""
