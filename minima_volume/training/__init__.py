"""Finding minima: data sets, interventions, models, recipes and trainers."""
