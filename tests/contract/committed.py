"""The committed tables and records, their headers, and the studies that they belong to."""

import runpy

from minima_volume.pipeline.study import Study
from tests import project

STORED, PAPER = project.ROOT / "tests" / "stored", project.ROOT / "results" / "paper"
STUDIES: dict[str, Study] = {
    name: study
    for path in sorted(project.ROOT.glob("*/config.py"))
    for name, study in runpy.run_path(str(path))["STUDIES"].items()
}
RECORDS = sorted(PAPER.glob("*/run.json"))
TABLES = sorted([*PAPER.glob("*.csv"), *PAPER.glob("*/*.csv")])
HEADERS = {
    "volumes.csv": "study data model repeat level landscape threshold metric status n_params n_directions n_crossed "
    "n_recrossed log_volume log_volume_se verdict effective_size largest_share doubling pareto_k typical_log_volume "
    "typical_log_volume_se log_volume_grid grid_directions loss_at_zero train_loss test_loss test_accuracy "
    "train_accuracy unseen_accuracy",
    "slices.csv": "repeat level n_train radius_1 radius_2 seen_loss unseen_loss",
    "profiles.csv": "repeat level n_train direction radius base_loss train_loss test_loss",
    "cutoffs.csv": "study data model repeat level threshold cutoff n_samples final_mean_loss",
    "orderings.csv": "study repeat level threshold estimator sigma value error verdict",
    "local_volumes.csv": "study data model repeat level landscape threshold norms sigma status log_gamma log_gamma_se "
    "log_gamma_within_se n_levels acceptance evaluations n_params n_reduced log_scales loss_at_zero train_loss test_loss "
    "test_accuracy",
    "samplers.csv": "study repeat level sigma subset subset_error tethered tethered_error tethered_status joint_errors",
    "sharpness.csv": "study data model repeat level measure coordinates value error n_train n_samples n_params train_loss "
    "test_loss test_accuracy",
    "confidences.csv": "study repeat estimator sigma order confidence falling",
    "comparison.csv": "study level landscape threshold ours_repeats ours_without_volume ours_log_volume_grid ours_spread "
    "published_repeats published_without_volume published_log_volume_grid published_spread relative_difference "
    "grid_steps standard_errors within ours_loss_at_zero published_loss_at_zero ours_test_loss published_test_loss "
    "test_loss_standard_errors ours_test_accuracy published_test_accuracy",
    "comparison_trends.csv": "study quantity held threshold against values ours_repeats ours_slope ours_slope_se "
    "ours_direction published_repeats published_slope published_slope_se published_direction direction "
    "standard_errors ours_solved_slope ours_solved_slope_se",
}
