"""How Sphinx builds the site: `make docs`, without a network, warnings as errors."""

import os
import sys
from pathlib import Path

import cylosses

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE / "_ext"))

project = "cylosses"
author = "The cylosses developers"
copyright = f"2026, {author}"  # noqa: A001
version = release = cylosses.__version__

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.intersphinx",
    "sphinx.ext.autosectionlabel",
    "numpydoc",
    "myst_nb",
    "sphinx_design",
    "sphinx_copybutton",
    "sphinx_gallery.gen_gallery",
    "mathml",
    "loss_pages",
    "repository_links",
    "folds",
    "module_pages",
]

default_role = "py:obj"  # names in single backticks are links where they are known
exclude_patterns = ["inventories", "gallery/*.ipynb"]
suppress_warnings = ["config.cache"]  # the gallery's settings hold functions, which cannot be compared with those of the last build

# Pages in Markdown ---------------------------------------------------------------------------------------------------
myst_enable_extensions = ["colon_fence", "deflist", "fieldlist", "attrs_inline"]
myst_heading_anchors = 4
nb_execution_mode = "cache"
nb_execution_cache_path = str(HERE.parent / "build" / "docs-cache")
nb_execution_raise_on_error = True
nb_execution_timeout = 300
nb_execution_show_tb = True
nb_merge_streams = True
nb_code_prompt_show = "How this picture is drawn"
nb_code_prompt_hide = "How this picture is drawn"
os.environ.setdefault("PYTHONWARNINGS", "error::FutureWarning:cylosses")
# Pages draw with the modules of _ext, and run in processes of their own.
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(HERE / "_ext"), os.environ.get("PYTHONPATH")]))

# The reference -------------------------------------------------------------------------------------------------------
autodoc_member_order = "groupwise"
autodoc_typehints = "none"  # the sections of the docstrings have them, in words
autodoc_preserve_defaults = True
autosectionlabel_prefix_document = True
numpydoc_show_class_members = False
maximum_signature_line_length = 90
toc_object_entries_show_parents = "hide"  # the list beside a page is narrow

# Other projects' names. Their inventories are here, so that nothing is downloaded: inventories/README.md.
intersphinx_mapping = {
    "python": ("https://docs.python.org/3/", "inventories/python.inv"),
    "numpy": ("https://numpy.org/doc/stable/", "inventories/numpy.inv"),
    "scipy": ("https://docs.scipy.org/doc/scipy/", "inventories/scipy.inv"),
    "sklearn": ("https://scikit-learn.org/stable/", "inventories/sklearn.inv"),
    "torch": ("https://docs.pytorch.org/docs/stable/", "inventories/torch.inv"),
}

# Examples ------------------------------------------------------------------------------------------------------------
sphinx_gallery_conf = {
    "examples_dirs": "../examples",
    "gallery_dirs": "gallery",
    "filename_pattern": r"/plot_",
    "within_subsection_order": "gallery_order.position",
    "default_thumb_file": str(HERE / "_static" / "script.svg"),  # of scripts without a picture
    "capture_repr": (),  # what scripts print is their output, not the last object that they made
    "download_all_examples": False,
    "show_memory": False,
    "show_signature": False,
    "min_reported_time": 10_000,
    "write_computation_times": False,
    "remove_config_comments": True,
}

# How it looks --------------------------------------------------------------------------------------------------------
html_theme = "pydata_sphinx_theme"
html_title = "cylosses"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_show_sourcelink = False
html_copy_source = False
html_theme_options = {
    "navbar_align": "left",
    "header_links_before_dropdown": 6,
    "show_toc_level": 2,
    "navigation_with_keys": False,
    "secondary_sidebar_items": {"**": ["page-toc"], "index": []},  # the last that matches
    "footer_start": ["copyright"],
    "footer_end": ["sphinx-version"],
    "show_prev_next": True,
    "pygments_light_style": "tango",
    "pygments_dark_style": "monokai",
}
html_sidebars = {"index": [], "start": [], "performance": [], "changelog": []}
