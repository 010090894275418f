"""Caches of this process alone, set before any library reads where its own is. Imported for that, and only once.

Tests run in several processes, and the one that ends first removes its caches: so none is shared.
"""

import os
import tempfile

FOLDER = tempfile.mkdtemp(prefix="zoo-tests-")
os.environ |= {"HF_HOME": f"{FOLDER}/huggingface", "ZOO_CACHE": f"{FOLDER}/zoo", "HF_HUB_OFFLINE": "1"}
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")
os.environ["UV_RUN_RECURSION_DEPTH"] = "1"  # zoo prints its commands as the pages of docs/ show them
