"""The order of the gallery: what smooth L1 is for, in pictures, then the scripts of the guides in the order of the guides."""

ORDER = (
    "plot_outliers",
    "plot_beta",
    "plot_per_element",
    "plot_boxes",
    "plot_depth_maps",
    "plot_documented_calls",
    "plot_scoring_files",
    "plot_robust_line",
    "boosting_objectives",
    "plot_scipy_fit",
    "own_estimator",
    "plot_quantiles",
    "plot_streaming_totals",
    "plot_dask_chunks",
    "torch_training",
)


def position(script: str) -> tuple[int, str]:
    """Return what scripts are sorted by; a script that is not listed comes last."""
    name = script.removesuffix(".py")
    return (ORDER.index(name) if name in ORDER else len(ORDER), name)
