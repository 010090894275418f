"""The networks of docs/tutorials/own_network.md, as a module whose classes a config can name."""

from doc_pages import PAGES

for _page in PAGES:
    if _page.path.name == "own_network.md":
        for _file in _page.files:
            if _file.title.endswith(".py"):
                exec(_file.text, globals())
